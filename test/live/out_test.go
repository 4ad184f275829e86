package live

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
)

// out: an operator takes all endpoints but one out of use at once. They serve on and nothing
// fails, so that only the registry says it; the guard would hold two of three for a minute.
func (w *world) out(t *testing.T) {
	addresses := slices.Sorted(maps.Keys(w.running))[1:]
	for _, off := range []bool{true, false} {
		since := time.Now()
		for _, a := range addresses {
			if err := w.registry.out(w.server, discovery.Instance{Service: service, Address: a}, off); err != nil {
				t.Fatal(err)
			}
		}
		for _, a := range addresses {
			if off {
				w.load.goes(t, a, since, w.soonest())
			} else {
				w.load.comes(t, a, since, w.soonest())
			}
		}
	}
}

// consulOut puts an instance into maintenance.
func consulOut(s *server, in discovery.Instance, off bool) error {
	_, err := s.consul("PUT", fmt.Sprintf("/v1/agent/service/maintenance/%s-%s?enable=%v&reason=live", in.Service, in.Address, off), "")
	return err
}

// nacosOut disables an instance, which the server then does not list any more.
func nacosOut(s *server, in discovery.Instance, off bool) error {
	q, err := nacosQuery(s, in)
	if err != nil {
		return err
	}
	q.Set("enabled", strconv.FormatBool(!off))
	path := "/v1/ns/instance"
	if s.registry.name == "nacos3" {
		path = "/v3/admin/ns/instance"
	}
	_, err = s.nacos("PUT", path, q)
	return err
}

// eurekaOut overrides the status of an instance.
func eurekaOut(s *server, in discovery.Instance, off bool) error {
	path := "/apps/" + strings.ToUpper(in.Service) + "/" + url.PathEscape(in.Address) + "/status?value="
	method, value := http.MethodPut, "OUT_OF_SERVICE"
	if !off {
		method, value = http.MethodDelete, "UP"
	}
	_, err := s.eureka(method, path+value, "")
	return err
}
