package exchange

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// still is a runtime whose clock stands still.
type still struct{ engine.Runtime }

func (still) Now() time.Duration { return time.Minute }

func TestRepeatsSaysWhatARetryDoes(t *testing.T) {
	all := Retry{Connect: true, Reset: true, Timeout: true}
	all.Statuses[502], all.Statuses[503] = true, true
	none := Retry{Attempts: 1, Connect: true, Reset: true, Timeout: true}
	three := all
	three.Attempts = 3
	for _, x := range []struct {
		retry  Retry
		method string
		want   string // class, status, + or -
	}{
		{all, "GET", "connect+ reset+ timeout+ 502+ 503+"},
		{three, "DELETE", "connect+ reset+ timeout+ 502+ 503+"},
		{all, "POST", "connect+ reset- timeout- 502- 503-"},
		{all, "get", "connect+ reset- timeout- 502- 503-"},
		{none, "GET", "connect- reset- timeout-"},
		{Retry{Timeout: true}, "PUT", "connect- reset- timeout+"},
		{Retry{Attempts: 2, Reset: true}, "HEAD", "connect- reset+ timeout-"},
	} {
		var got []string
		for _, one := range x.retry.Repeats(still{}, x.method) {
			word := map[Class]string{Connect: "connect", Reset: "reset", Timeout: "timeout", Status: fmt.Sprint(one.Status)}[one.Class]
			got = append(got, word+map[bool]string{true: "+", false: "-"}[one.Again])
			if one.Why == "" {
				t.Errorf("%s %s: no reason", x.method, word)
			}
		}
		if strings.Join(got, " ") != x.want {
			t.Errorf("%+v %s: %v, want %s", x.retry.Attempts, x.method, got, x.want)
		}
	}
}
