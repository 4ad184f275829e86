package main

// Completion of names in a shell: those that the running poise knows. Without one, or with one that is
// slow, nothing is offered.

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/poise-lb/poise/admin"
)

// completeFor bounds what a shell waits for.
const completeFor = 500 * time.Millisecond

// completeNames completes a service, then one of its endpoints, then one of words. n is how many of
// them the command takes.
func (c *ctl) completeNames(cmd *cobra.Command, n int, words ...string) {
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
		switch {
		case len(args) >= n:
		case len(args) == 0:
			names = c.serviceNames()
		case len(args) == 1:
			names = c.endpointNames(args[0])
		default:
			names = words
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func (c *ctl) serviceNames() (names []string) {
	var all struct{ Services []admin.ServiceView }
	c.look("/api/v1/services", &all)
	for _, s := range all.Services {
		names = append(names, s.Name)
	}
	return names
}

func (c *ctl) endpointNames(service string) (names []string) {
	var s admin.ServiceDetail
	c.look("/api/v1/services/"+url.PathEscape(service), &s)
	for _, e := range s.Endpoints {
		names = append(names, e.Label)
	}
	return names
}

// look reads the JSON of a path into v, as far as that works in time.
func (c *ctl) look(path string, v any) {
	ctx, cancel := context.WithTimeout(context.Background(), completeFor)
	defer cancel()
	res, err := c.do(ctx, http.MethodGet, path, nil, 0)
	if err != nil {
		return
	}
	defer res.Body.Close()
	json.NewDecoder(res.Body).Decode(v)
}
