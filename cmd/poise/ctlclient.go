package main

// The client of poise ctl: requests to the admin API, and what its refusals say to people.

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/poise-lb/poise/admin"
)

// client returns a client and the URL in front of paths.
func (c *ctl) client() (*http.Client, string, error) {
	server := c.server
	if server == "" {
		server = os.Getenv(ctlEnv)
	}
	if server == "" {
		server = ctlServer
	}
	if path, ok := strings.CutPrefix(server, "unix:"); ok {
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		return &http.Client{Transport: &http.Transport{DialContext: dial}}, "http://localhost", nil
	}
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, "", usage(fmt.Errorf("poise: --server %s: it is http://host:port, https://host:port or unix:/path", server))
	}
	return &http.Client{}, u.Scheme + "://" + u.Host, nil
}

// do sends a request and returns the answer, if it is one that says yes.
func (c *ctl) do(ctx context.Context, method, path string, content any, generation uint64) (*http.Response, error) {
	client, base, err := c.client()
	if err != nil {
		return nil, err
	}
	var body io.Reader
	if content != nil {
		data, err := json.Marshal(content)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, base+path, body)
	if err != nil {
		return nil, err
	}
	token, err := c.secret()
	if err != nil {
		return nil, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if method != http.MethodGet {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Poise-Admin", "1")
		r.Header.Set("If-Match", fmt.Sprintf("%q", fmt.Sprint(generation)))
	}
	res, err := client.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, fmt.Errorf("no admin API at %s: %w (set --server or $%s; poise run has it with admin: in its file)", base, err, ctlEnv)
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	return nil, refusalOf(res)
}

// A refusal is an answer of the API that says no.
type refusal struct{ admin.Mistakes }

func refusalOf(res *http.Response) *refusal {
	var r refusal
	data, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if json.Unmarshal(data, &r.Mistakes) != nil || r.Message == "" {
		r.Message = strings.TrimSpace(string(data))
	}
	r.Status = res.StatusCode
	return &r
}

func (r *refusal) Error() string {
	text := r.Message
	if r.Near != "" {
		text += ", did you mean " + r.Near + "?"
	}
	text += fmt.Sprintf(" (status %d)", r.Status)
	for _, m := range r.Mistakes.Mistakes {
		text += "\n" + m
	}
	return text
}

// refused is the status of an answer that says no; 0: err is no such answer.
func refused(err error) int {
	if r := (*refusal)(nil); errors.As(err, &r) {
		return r.Status
	}
	return 0
}

// secret is the token; "": none.
func (c *ctl) secret() (string, error) {
	if c.token == "" {
		return os.Getenv(ctlTokenEnv), nil
	}
	data, err := os.ReadFile(c.token)
	return strings.TrimSpace(string(data)), err
}

// get reads the JSON of a path into v. With -o json it writes it instead, and returns false.
func (c *ctl) get(path string, v any) (show bool, err error) {
	if err := checkOutput(c.output); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), ctlTimeout)
	defer cancel()
	res, err := c.do(ctx, http.MethodGet, path, nil, 0)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return false, err
	}
	if c.output == "json" {
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, data, "", "  "); err != nil {
			return false, err
		}
		_, err := pretty.WriteTo(c.stdout)
		return false, err
	}
	return true, json.Unmarshal(data, v)
}

// follow reads events from the stream, after the one with that number, until the stream ends.
func (c *ctl) follow(ctx context.Context, after uint64, each func(data []byte) error) error {
	res, err := c.do(ctx, http.MethodGet, fmt.Sprintf("/api/v1/stream?after=%d", after), nil, 0)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 8<<20)
	kind := ""
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			kind = name
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && kind == "event" {
			if err := each([]byte(data)); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}

// post sends a change and reads the JSON of the answer into v. generation is the one that the change
// was decided on.
func (c *ctl) post(path string, content any, generation uint64, patience time.Duration, v any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	res, err := c.do(ctx, http.MethodPost, path, content, generation)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(v)
}

// overview is the state of the server, whatever the output is to be.
func (c *ctl) overview() (o admin.Overview, err error) {
	text := *c
	text.output = "text"
	_, err = text.get("/api/v1/status", &o)
	return o, err
}
