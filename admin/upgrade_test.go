package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// An upgrade needs the role and the generation; its outcome is the answer.
func TestUpgrade(t *testing.T) {
	var pid int
	var fails error
	asked := ""
	with := func(role Role) *side {
		return newSide(t, Options{Tokens: []Token{{"zhao", secret, role}}, Upgrade: func(_ context.Context, who string) (int, error) {
			asked = who
			return pid, fails
		}})
	}
	operator, viewer, without := with(Operate), with(View), newSide(t, Options{})
	for _, test := range []struct {
		side       *side
		generation string
		pid        int
		fails      error
		status     int
		text       string
	}{
		{viewer, "1", 7, nil, 403, "needs operate"},
		{operator, "", 7, nil, 428, "If-Match"},
		{operator, "9", 7, nil, 412, "its generation is 1"},
		{without, "1", 7, nil, 501, "no upgrade over its API"},
		{operator, "1", 7, nil, 200, `{"pid":7}`},
		{operator, "1", 0, errors.New("it ended"), 500, "goes on as before: it ended"},
		{operator, "1", 0, fmt.Errorf("%w: busy", ErrRefused), 409, "no upgrade: busy"},
	} {
		pid, fails, asked = test.pid, test.fails, ""
		status, text := test.side.change("POST", "/api/v1/upgrade", "", test.generation)
		if status != test.status || !strings.Contains(text, test.text) {
			t.Errorf("%d %s, want %d %s", status, text, test.status, test.text)
		}
		if reached := status == 200 || status == 500 || status == 409; reached != (asked == "zhao") {
			t.Errorf("%d: asked by %q", status, asked)
		}
	}
}
