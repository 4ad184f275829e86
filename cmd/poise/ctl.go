package main

// poise ctl: a client of the admin API of a running poise, with tables for people and JSON for
// programs.

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

	"github.com/spf13/cobra"

	"github.com/poise-lb/poise/admin"
)

// Where a ctl looks for its server, if no flag says it.
const (
	ctlServer   = "http://127.0.0.1:9900"
	ctlEnv      = "POISE_ADMIN"
	ctlTokenEnv = "POISE_ADMIN_TOKEN"
	ctlTimeout  = 10 * time.Second
)

// A ctl is the client of one admin API.
type ctl struct {
	streams
	server string // http://host:port, https://host:port or unix:/path
	token  string // file with the token; "": the environment, or none
	output string
}

func newCtl(s streams) *cobra.Command {
	c := &ctl{streams: s}
	root := &cobra.Command{
		Use:   "ctl",
		Short: "Look at a running poise, and change it by hand",
		Long: `Look at a running poise, and change it by hand, over its admin API.

The server is --server, or $` + ctlEnv + `, or ` + ctlServer + `; a token is in the file
--token-file or in $` + ctlTokenEnv + `. What is changed by hand stays until its end, its
removal or the end of the process, whatever a source or a reload says.`,
		Example: `  poise ctl status
  poise ctl endpoints users
  poise ctl drain users 10.0.0.1:8080 --for 30m --why "new disk"
  poise ctl events -f`,
		Args: noArguments, SuggestionsMinimumDistance: 2,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := root.PersistentFlags()
	flags.StringVar(&c.server, "server", "", "admin API: http://host:port, https://host:port or unix:/path")
	flags.StringVar(&c.token, "token-file", "", "file with the token")
	flags.StringVarP(&c.output, "output", "o", "text", strings.Join(outputs, " or "))
	root.AddCommand(
		c.reader("status", "What is served, and what is wrong", 0, func([]string) error { return c.status() }),
		c.reader("services", "The services with their figures", 0, func([]string) error { return c.services() }),
		c.reader("endpoints SERVICE", "The endpoints of a service: state, since when, why, share", 1, func(args []string) error { return c.endpoints(args[0]) }),
		c.reader("routes", "The routes with their figures", 0, func([]string) error { return c.routes() }),
		c.reader("overrides", "What was changed by hand; as configuration with -o yaml", 0, func([]string) error { return c.overrides() }),
		c.reader("ready", "Exit with 0 if it is ready to serve, as a container's health check", 0, func([]string) error { return c.ready() }),
		c.eventsCommand(),
		c.changer("drain", "Send an endpoint no new requests", true),
		c.changer("undrain", "End drain", false),
		c.changer("eject", "Take an endpoint out of use, whatever its health says", true),
		c.changer("admit", "Take an endpoint back into use at once", false),
		c.changer("weight", "Give an endpoint another weight", true),
	)
	return root
}

// reader makes a command that reads.
func (c *ctl) reader(use, short string, args int, run func(args []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(args),
		RunE: func(_ *cobra.Command, args []string) error { return run(args) },
	}
}

// changer makes a command that overrides an endpoint.
func (c *ctl) changer(kind, short string, lasts bool) *cobra.Command {
	var change admin.Change
	var length time.Duration
	use, n := kind+" SERVICE ENDPOINT", 2
	if kind == "weight" {
		use, n = use+" WEIGHT", 3
	}
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(n)}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		change.Kind = kind
		if length > 0 {
			change.For = length.String()
		}
		if kind == "weight" {
			if _, err := fmt.Sscanf(args[2], "%g", &change.Weight); err != nil {
				return usage(fmt.Errorf("poise: %q is no weight", args[2]))
			}
		}
		return c.change(args[0], args[1], change)
	}
	cmd.Flags().StringVar(&change.Why, "why", "", "why, for the log and the page")
	if lasts {
		cmd.Flags().DurationVar(&length, "for", 0, "how long; 0: until it is removed")
	}
	return cmd
}

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
	data, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	var p admin.Problem
	if json.Unmarshal(data, &p) != nil || p.Message == "" {
		p.Message = strings.TrimSpace(string(data))
	}
	if p.Near != "" {
		p.Message += ", did you mean " + p.Near + "?"
	}
	return nil, fmt.Errorf("%s (status %d)", p.Message, res.StatusCode)
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

// change overrides an endpoint, and says what is in force then.
func (c *ctl) change(service, endpoint string, what admin.Change) error {
	var now admin.Overview
	output := c.output
	c.output = "text"
	_, err := c.get("/api/v1/status", &now)
	if c.output = output; err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), ctlTimeout)
	defer cancel()
	path := "/api/v1/services/" + url.PathEscape(service) + "/endpoints/" + url.PathEscape(endpoint) + "/override"
	res, err := c.do(ctx, http.MethodPost, path, what, now.Generation)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if c.output == "json" {
		_, err := io.Copy(c.stdout, res.Body)
		return err
	}
	return c.endpoints(service)
}

// ready exits with 0 if the server is.
func (c *ctl) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), ctlTimeout)
	defer cancel()
	res, err := c.do(ctx, http.MethodGet, "/readyz", nil, 0)
	if err != nil {
		return err
	}
	res.Body.Close()
	say(c.stdout, "ready\n")
	return nil
}

func (c *ctl) eventsCommand() *cobra.Command {
	var follow bool
	var service string
	cmd := &cobra.Command{
		Use: "events", Short: "What has happened; -f follows it", Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return c.events(service, follow) },
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens, until Ctrl-C")
	cmd.Flags().StringVar(&service, "service", "", "only those of a service")
	return cmd
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
