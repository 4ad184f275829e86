package main

// poise explain: says what would become of a request, by a configuration file alone.

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/configfile"
	"github.com/poise-lb/poise/internal/nearest"
	"github.com/poise-lb/poise/sources"
)

type explainFlags struct {
	live   bool
	ctl    ctl
	file   string
	fields []string
	client string
	at     string
	output string
	asked  string // the command, for errors; "": explain
}

func newExplain(s streams) *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use:   "explain 'METHOD URL' -c FILE",
		Short: "Say which route and which endpoints a request would get, and why",
		Long: `Say what would become of a request: the routes that were tried and why each was
taken or not, what the endpoint would get, the endpoints and how often the policy
chooses each, what a retry would do, and the limits of time with their place in
the file.

Nothing is sent, probed or asked: endpoints of static lists count as healthy and
idle, and of a service with a source no endpoint is known. The method is GET if it
is left out. Exits 2 if the file or the request cannot be used.`,
		Example: `  poise explain 'GET https://api.example.com/api/v1/users/42' -H 'X-User-Id: 7' -c poise.yaml
  poise explain /cart/7 -H 'Host: shop.example.com' --client 203.0.113.9 -c poise.yaml
  poise explain 'POST http://shop.example.com/orders' -c poise.yaml -o json`,
		RunE: func(_ *cobra.Command, args []string) error { return f.run(s, args) },
	}
	addLive(c, &f.live, &f.ctl, "ask a running poise by its admin API, instead of a file: what is known of endpoints counts")
	c.Flags().StringVarP(&f.file, "config", "c", "", "configuration file (YAML)")
	f.addRequest(c)
	addOutput(c, &f.output)
	completeFile(c)
	return c
}

// addRequest adds the flags that say more of the request.
func (f *explainFlags) addRequest(c *cobra.Command) {
	f.addHead(c)
	c.Flags().StringVar(&f.client, "client", "127.0.0.1", "IP address of the client")
}

// addHead adds those that a request which is sent has, too.
func (f *explainFlags) addHead(c *cobra.Command) {
	c.Flags().StringArrayVarP(&f.fields, "header", "H", nil, "header field of the request, as in 'Name: value'; may be repeated")
	c.Flags().StringVar(&f.at, "listener", "", "name of the listener by which it comes")
}

// addLive adds the flag --live, and those that say which poise is meant.
func addLive(c *cobra.Command, live *bool, running *ctl, about string) {
	c.Flags().BoolVar(live, "live", false, about)
	c.Flags().StringVar(&running.server, "server", "", "of --live: as that of poise ctl")
	c.Flags().StringVar(&running.token, "token-file", "", "of --live: file with the token")
}

// outputs are the words of the flag --output.
var outputs = []string{"text", "json"}

func addOutput(c *cobra.Command, output *string) {
	c.Flags().StringVarP(output, "output", "o", "text", strings.Join(outputs, " or "))
	completeWords(c, "output", outputs)
}

// checkOutput refuses unknown words of the flag --output.
func checkOutput(word string) error {
	for _, known := range outputs {
		if word == known {
			return nil
		}
	}
	err := fmt.Errorf("poise: --output %s: it is %s", word, strings.Join(outputs, " or "))
	if near := nearest.Word(word, outputs); near != "" {
		err = fmt.Errorf("%w, did you mean %s?", err, near)
	}
	return usage(err)
}

func (f *explainFlags) run(s streams, args []string) error {
	if err := checkOutput(f.output); err != nil {
		return err
	}
	q, err := f.request(args)
	if err != nil {
		return usage(fmt.Errorf("poise: %w", err))
	}
	x, err := f.explain(q)
	if err != nil {
		return err
	}
	if f.output == "json" {
		return writeJSON(s, x)
	}
	return x.WriteText(s.stdout)
}

// explain asks a running poise, or reads the file.
func (f *explainFlags) explain(q poise.ExplainRequest) (x poise.Explanation, err error) {
	if !f.live {
		file, err := readFile(f.file)
		if err != nil {
			return x, err
		}
		return explainFile(file, q)
	}
	ctx, cancel := context.WithTimeout(context.Background(), ctlTimeout)
	defer cancel()
	res, err := f.ctl.do(ctx, http.MethodPost, "/api/v1/explain", q, 0)
	if err != nil {
		return x, err
	}
	defer res.Body.Close()
	return x, json.NewDecoder(res.Body).Decode(&x)
}

// explainFile explains a request by a file.
func explainFile(file *configfile.File, q poise.ExplainRequest) (poise.Explanation, error) {
	c := file.Config
	c.Sources = sources.All()
	x, err := poise.Explain(c, q)
	if err != nil {
		if err = located(file, err); !errors.As(err, new(*usageError)) {
			err = usage(fmt.Errorf("poise: %w", err))
		}
		return x, err
	}
	x.Locate(file.Place)
	return x, nil
}

// request is the request of the command line: one argument 'METHOD URL', or two.
func (f *explainFlags) request(args []string) (poise.ExplainRequest, error) {
	words := strings.Fields(strings.Join(args, " "))
	q := poise.ExplainRequest{Method: "GET", Client: f.client, Listener: f.at}
	switch len(words) {
	case 1:
		q.URL = words[0]
	case 2:
		q.Method, q.URL = words[0], words[1]
	default:
		command := cmp.Or(f.asked, "explain")
		return q, fmt.Errorf("%s needs a request, as in 'GET https://api.example.com/users/42'; see poise %s --help", command, command)
	}
	for _, text := range f.fields {
		name, value, found := strings.Cut(text, ":")
		if !found || name == "" {
			return q, fmt.Errorf("--header %q: a header field is Name: value", text)
		}
		q.Fields = append(q.Fields, poise.ExplainField{Name: name, Value: strings.TrimSpace(value)})
	}
	return q, nil
}

// writeJSON writes v as JSON, indented for people who look at it all the same.
func writeJSON(s streams, v any) error {
	e := json.NewEncoder(s.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
