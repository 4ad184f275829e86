package main

// The command send of poise ctl: a request goes through the running proxy as one of a client of its
// machine would, and what became of it is written.
//
//	$ poise ctl send 'GET https://api.example.com/users/42' --listener inbound
//	200 in 3.2ms: route users, service users
//	http://10.0.0.1:8080: 200, from 0s, took 3.1ms
//
//	Content-Type: text/plain
//
//	hello

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poise-lb/poise"
)

// sendTimeout is for the whole answer: the API takes 10 seconds at most.
const sendTimeout = 15 * time.Second

// sender makes the command send.
func (c *ctl) sender() *cobra.Command {
	f := explainFlags{asked: "ctl send"}
	var content string
	cmd := &cobra.Command{
		Use:   "send 'METHOD URL'",
		Short: "Send a request through the proxy, and say what became of it",
		Long: `Send a request through the proxy, and say what became of it: the answer, the time,
and each attempt with its endpoint. It goes where the routes lead, whatever host the
URL names, and counts as a request of a client at 127.0.0.1. It takes 10 seconds at
most; 64 KiB of the answer's content are kept. A token needs the role operate.`,
		Example: `  poise ctl send 'GET https://api.example.com/users/42' -H 'X-User-Id: 7'
  poise ctl send 'POST /orders' --content '{"book": 7}' --listener inbound`,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkOutput(c.output); err != nil {
				return err
			}
			q, err := f.request(args)
			if err != nil {
				return usage(fmt.Errorf("poise: %w", err))
			}
			return c.send(poise.SendRequest{Method: q.Method, URL: q.URL, Fields: q.Fields, Content: content, Listener: q.Listener})
		},
	}
	f.addHead(cmd)
	cmd.Flags().StringVar(&content, "content", "", "content of the request, at most 32 KiB")
	return cmd
}

// send sends q and writes what became of it.
func (c *ctl) send(q poise.SendRequest) error {
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	res, err := c.do(ctx, http.MethodPost, "/api/v1/send", q, 0)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var sent poise.Sent
	if err := json.NewDecoder(res.Body).Decode(&sent); err != nil {
		return err
	}
	if c.output == "json" {
		return writeJSON(c.streams, sent)
	}
	say(c.stdout, "%s", sentText(&sent))
	return nil
}

// sentText is what became of a request, for people.
func sentText(s *poise.Sent) string {
	var b strings.Builder
	status := fmt.Sprint(s.Status)
	if s.Status == 0 {
		status = "no answer"
	}
	fmt.Fprintf(&b, "%s in %v: ", status, s.Took.Round(time.Microsecond))
	switch {
	case s.Route == "":
		b.WriteString("no route")
	case s.Service == "":
		fmt.Fprintf(&b, "route %s", s.Route)
	default:
		fmt.Fprintf(&b, "route %s, service %s", s.Route, s.Service)
	}
	if s.Reason != "" {
		fmt.Fprintf(&b, ", %s", s.Reason)
	}
	b.WriteString("\n")
	for _, a := range s.Attempts {
		what := a.Reason
		if a.Status != 0 {
			what = strings.TrimSpace(fmt.Sprint(a.Status, " ", a.Reason))
		}
		fmt.Fprintf(&b, "%s: %s, from %v, took %v\n", a.Endpoint, what, a.Start.Round(time.Microsecond), a.Took.Round(time.Microsecond))
	}
	b.WriteString("\n")
	for _, f := range s.Fields {
		fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Value)
	}
	switch {
	case s.Content != "":
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSuffix(s.Content, "\n"))
	case s.Bytes > 0:
		fmt.Fprintf(&b, "\n(%d bytes that are no text)\n", s.Bytes)
	}
	if s.Cut != "" {
		fmt.Fprintf(&b, "(%s)\n", s.Cut)
	}
	return b.String()
}
