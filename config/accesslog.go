package config

// The small languages of the access log: templates in nginx's language, shares, rules of
// sampling and file modes. Each is parsed here and nowhere else, by validation and by what
// writes the log.
//
//	format    '$remote_addr "$request" $status ${request_time}s'
//	rate      1%, 0.1%
//	always    5xx, 404, retried, failed, slower 1s
//	mode      0640

import (
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poise-lb/poise/internal/nearest"
)

// LogFormats are the words of AccessLog.Format; anything else is a template.
var LogFormats = []string{"json", "combined", "ecs"}

// LogVariables are the names of variables of a template, beside those that name a field of a
// head: http_ and sent_http_ with the field's name in lower case and _ for -.
var LogVariables = []string{
	"remote_addr", "remote_user", "time_local", "time_iso8601", "msec",
	"request", "request_method", "request_uri", "uri", "args", "query_string", "host", "scheme", "server_protocol",
	"status", "body_bytes_sent", "bytes_sent", "request_length", "request_time", "queue_time",
	"upstream_addr", "upstream_status", "upstream_response_time", "upstream_header_time",
	"request_id", "trace_id", "ssl_protocol", "ssl_client_s_dn", "ssl_client_san",
	"route", "service", "reason", "grpc_status", "generation", "attempts",
}

// Prefixes of variables that name a field of the request and of the response.
const (
	LogRequestField  = "http_"
	LogResponseField = "sent_http_"
)

// Bounds of what a record may keep of heads.
const (
	logFieldsMax = 32   // fields of both heads together
	templateMax  = 4096 // bytes of a template
	variablesMax = 128  // of a template
)

// escapeParam begins a template that says how values are escaped.
const escapeParam = "escape="

// A LogPart is a piece of a template: a text, or the name of a variable.
type LogPart struct {
	Text     string // as it stands; empty: it is a variable
	Variable string // without $; http_user_agent, for instance
}

// A LogTemplate is a template in parts. JSON: values are escaped for JSON strings, and a value
// that is absent is empty; else they are escaped as nginx does by default, and absent is -.
type LogTemplate struct {
	Parts []LogPart
	JSON  bool
}

// Template reads Format as a template. It is an error if Format is one of LogFormats. The error
// is for people; near is the name that was probably meant, or empty.
func (a AccessLog) Template() (t LogTemplate, near string, err error) {
	rest := strings.TrimRight(a.Format, "\r\n") // a block of YAML ends with one
	if after, ok := strings.CutPrefix(rest, escapeParam); ok {
		word, body, _ := strings.Cut(after, " ")
		if word != "json" && word != "default" {
			return t, nearest.Word(word, []string{"json", "default"}), fmt.Errorf("%q is no way to escape: it is escape=default or escape=json", word)
		}
		t.JSON, rest = word == "json", body
	}
	if !strings.Contains(rest, "$") {
		return t, nearest.Word(a.Format, LogFormats), fmt.Errorf("%q is neither json, combined nor ecs, nor a template with $variables", a.Format)
	}
	if len(rest) > templateMax {
		return t, "", fmt.Errorf("the template has %d bytes, more than %d", len(rest), templateMax)
	}
	for _, c := range []byte(rest) {
		if c < ' ' && c != '\t' || c == 0x7f {
			return t, "", fmt.Errorf("the template has a %q, but a line of the log is one line", c)
		}
	}
	return t.parse(rest)
}

// parse appends the parts of text.
func (t LogTemplate) parse(text string) (_ LogTemplate, near string, err error) {
	for n := 0; text != ""; n++ {
		before, after, found := strings.Cut(text, "$")
		if before != "" {
			t.Parts = append(t.Parts, LogPart{Text: before})
		}
		if !found {
			break
		}
		if n == variablesMax {
			return t, "", fmt.Errorf("the template has more than %d variables", variablesMax)
		}
		var name string
		if name, text, err = cutVariable(after); err != nil {
			return t, "", err
		}
		if near, err = checkVariable(name); err != nil {
			return t, near, err
		}
		t.Parts = append(t.Parts, LogPart{Variable: name})
	}
	return t, "", nil
}

// cutVariable cuts the name behind a $ off.
func cutVariable(text string) (name, rest string, err error) {
	if inner, ok := strings.CutPrefix(text, "{"); ok {
		name, rest, ok = strings.Cut(inner, "}")
		if !ok {
			return "", "", fmt.Errorf("${ without }")
		}
		return name, rest, nil
	}
	end := 0
	for end < len(text) && (text[end] == '_' || text[end] != '-' && plain(text[end:end+1])) {
		end++
	}
	if end == 0 {
		return "", "", fmt.Errorf("a $ is not followed by the name of a variable")
	}
	return text[:end], text[end:], nil
}

func checkVariable(name string) (near string, err error) {
	for _, prefix := range []string{LogRequestField, LogResponseField} {
		if field, ok := strings.CutPrefix(name, prefix); ok && field != "" && isToken(field) {
			return "", nil
		}
	}
	if slices.Contains(LogVariables, name) {
		return "", nil
	}
	if near = nearest.Word(name, LogVariables); near != "" {
		near = "$" + near
	}
	return near, fmt.Errorf("$%s is not a variable of the access log", name)
}

// LogRules say which lines are kept whatever Rate is. The zero value is: none.
type LogRules struct {
	Statuses [600]bool     // index: the status sent to the client
	Retried  bool          // more than one attempt
	Failed   bool          // there is a reason
	Error    bool          // as trace.Failed has it
	Slower   time.Duration // lines that took longer; 0: this is no rule
}

// Rules reads Always.
func (s LogSample) Rules() (LogRules, error) {
	var r LogRules
	for _, word := range s.Always {
		if err := r.add(word); err != nil {
			return LogRules{}, err
		}
	}
	return r, nil
}

// logRuleWords are the rules, for hints.
var logRuleWords = []string{"retried", "failed", "error", "slower 1s", "1xx", "2xx", "3xx", "4xx", "5xx"}

func (r *LogRules) add(word string) error {
	first, limit, _ := strings.Cut(word, " ")
	switch {
	case word == "retried":
		r.Retried = true
	case word == "failed":
		r.Failed = true
	case word == "error":
		r.Error = true
	case first == "slower":
		d, err := time.ParseDuration(strings.TrimSpace(limit))
		if err != nil || d <= 0 {
			return fmt.Errorf("%q needs a time, as in slower 1s", word)
		}
		if r.Slower == 0 || d < r.Slower {
			r.Slower = d
		}
	case len(word) == 3 && word[0] >= '1' && word[0] <= '5' && word[1:] == "xx":
		from := int(word[0]-'0') * 100
		for i := from; i < from+100; i++ {
			r.Statuses[i] = true
		}
	default:
		n, err := strconv.Atoi(word)
		if err != nil || n < 100 || n > 599 {
			return fmt.Errorf("%q is no rule: it is a status such as 404, a class such as 5xx, retried, failed, error or slower 1s", word)
		}
		r.Statuses[n] = true
	}
	return nil
}

// Share is Rate as a number from 0 to 1; an empty Rate is 1.
func (s LogSample) Share() (float64, error) {
	if s.Rate == "" {
		return 1, nil
	}
	text, ok := strings.CutSuffix(s.Rate, "%")
	n, err := strconv.ParseFloat(text, 64)
	if !ok || err != nil || math.IsNaN(n) || n < 0 || n > 100 || strings.ContainsAny(text, "xX_eE+") {
		return 0, fmt.Errorf("%q is not a share from 0%% to 100%%, such as 1%% or 0.1%%", s.Rate)
	}
	return n / 100, nil
}

// FileMode reads Mode; exact is false if it is empty: then the file is made with 0640, less what
// the umask of the process takes away.
func (a AccessLog) FileMode() (mode fs.FileMode, exact bool, err error) {
	if a.Mode == "" {
		return 0o640, false, nil
	}
	n, err := strconv.ParseUint(a.Mode, 8, 32)
	if err != nil || n > 0o777 || len(a.Mode) < 3 || len(a.Mode) > 4 {
		return 0, false, fmt.Errorf("%q is not a mode of files such as 0640", a.Mode)
	}
	if n&0o200 == 0 {
		return 0, false, fmt.Errorf("with the mode %s the owner may not write", a.Mode)
	}
	return fs.FileMode(n), true, nil
}

func (v *validator) accessLog(a *AccessLog) {
	if !slices.Contains(LogFormats, a.Format) {
		if _, near, err := a.Template(); err != nil {
			v.add("access_log.format", a.Format, near, err.Error())
		}
	}
	for _, list := range []struct {
		key    string
		fields []string
	}{{"access_log.fields.request", a.Fields.Request}, {"access_log.fields.response", a.Fields.Response}} {
		for i, name := range list.fields {
			if !isToken(name) {
				v.add(Index(list.key, i), name, "", fmt.Sprintf("%q is not the name of a field", name))
			}
		}
	}
	if n := len(a.Fields.Request) + len(a.Fields.Response); n > logFieldsMax {
		v.add("access_log.fields", "", "", fmt.Sprintf("%d fields are more than %d", n, logFieldsMax))
	}
	if _, err := a.Sample.Share(); err != nil {
		v.add("access_log.sample.rate", a.Sample.Rate, "", err.Error())
	}
	for i, word := range a.Sample.Always {
		if err := new(LogRules).add(word); err != nil {
			v.add(Index("access_log.sample.always", i), word, nearest.Word(word, logRuleWords), err.Error())
		}
	}
	if _, _, err := a.FileMode(); err != nil {
		v.add("access_log.mode", a.Mode, "", err.Error())
	}
}
