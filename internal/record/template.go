package record

// Lines by a template in nginx's language. Compiled, it is a list of parts, each a text or a
// function that writes one variable:
//
//	$remote_addr "$request" $status    ->    [addr] [ "] [request] [" ] [status]
//
// Values mean what they mean in nginx: the time is that of the end of the exchange, times are
// seconds with three decimals, and the values of several attempts stand in one, with commas.

import (
	"strings"

	"github.com/poise-lb/poise/config"
)

// combined is the format of that name of nginx, and of Apache.
var combined = config.LogTemplate{Parts: []config.LogPart{
	{Variable: "remote_addr"}, {Text: " - "}, {Variable: "remote_user"}, {Text: " ["}, {Variable: "time_local"},
	{Text: `] "`}, {Variable: "request"}, {Text: `" `}, {Variable: "status"}, {Text: " "}, {Variable: "body_bytes_sent"},
	{Text: ` "`}, {Variable: "http_referer"}, {Text: `" "`}, {Variable: "http_user_agent"}, {Text: `"`},
}}

// A part is a text, or writes a variable.
type part struct {
	text  string
	write variable // nil: it is a text
}

// A variable writes its value, which is not empty, or returns b as it was: then it is absent.
type variable func(f *Format, p *pen, b []byte, l *slot) []byte

// template compiles t.
func (f *Format) template(t config.LogTemplate) {
	f.line, f.json, f.esc = (*Format).appendTemplate, t.JSON, appendHexed[[]byte]
	if t.JSON {
		f.esc = appendEscaped[[]byte]
	}
	for _, p := range t.Parts {
		f.parts = append(f.parts, part{p.Text, f.variable(p.Variable)})
	}
}

// variable is what writes the variable of that name; nil for no name.
func (f *Format) variable(name string) variable {
	switch name {
	case "":
		return nil
	case "http_host":
		return writeHostField
	case "remote_user":
		f.user = true
	case "uri":
		f.norm = true
	case "bytes_sent", "request_length":
		f.captures = true
	}
	if field, ok := strings.CutPrefix(name, config.LogResponseField); ok {
		return f.fieldVariable(field, true)
	}
	if field, ok := strings.CutPrefix(name, config.LogRequestField); ok {
		return f.fieldVariable(field, false)
	}
	return variables[name]
}

func (f *Format) fieldVariable(field string, response bool) variable {
	i := f.field(strings.ReplaceAll(field, "_", "-"), response)
	return func(f *Format, _ *pen, b []byte, l *slot) []byte {
		if l.field(i) == nil {
			return b
		}
		return f.appendValue(b, l, i, f.esc)
	}
}

func (f *Format) appendTemplate(p *pen, b []byte, l *slot) []byte {
	for i := range f.parts {
		one := &f.parts[i]
		if one.write == nil {
			b = append(b, one.text...)
			continue
		}
		before := len(b)
		if b = one.write(f, p, b, l); len(b) == before && !f.json {
			b = append(b, '-')
		}
	}
	return append(b, '\n')
}

// word appends a text of the proxy's own configuration.
func (f *Format) word(b []byte, text string) []byte {
	if f.json {
		return appendEscaped(b, text)
	}
	return appendHexed(b, text)
}
