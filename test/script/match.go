package script

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Fields that scripts check by words of their own.
const (
	endpointField = "X-Endpoint"   // set by every endpoint actor: its name
	reasonField   = "Poise-Reason" // why Poise itself answered
)

// match compares a message with what the options say of it; what they do not mention
// may be anything.
func (m *message) match(o options) error {
	if err := matchFields(m.fields, o.fields); err != nil {
		return err
	}
	if err := matchFields(m.trailers, o.trailers); err != nil {
		return fmt.Errorf("trailer: %w", err)
	}
	for _, name := range o.absent {
		if got := m.get(name); got != nil {
			return fmt.Errorf("%s is there: %q", name, got)
		}
	}
	if o.content != nil && string(m.content) != *o.content {
		return fmt.Errorf("body is %s, want %s", brief(string(m.content)), brief(*o.content))
	}
	if o.base64 != nil {
		if got, err := decodePadded(string(m.content)); err != nil || got != *o.base64 {
			return fmt.Errorf("body %s stands for %s, %v, want %s", brief(string(m.content)), brief(got), err, brief(*o.base64))
		}
	}
	for _, want := range o.contains {
		if !strings.Contains(string(m.content), want) {
			return fmt.Errorf("body %s does not contain %q", brief(string(m.content)), want)
		}
	}
	if o.length >= 0 && m.length != o.length {
		return fmt.Errorf("Content-Length is %d (framing %s), want %d", m.length, m.framing, o.length)
	}
	if o.chunked && m.framing != "chunked" {
		return fmt.Errorf("framing is %s, want chunked", m.framing)
	}
	if o.untilClose && m.framing != "until-close" {
		return fmt.Errorf("framing is %s, want until-close", m.framing)
	}
	if o.reason != "" && !slices.Equal(m.get(reasonField), []string{o.reason}) {
		return fmt.Errorf("reason is %q, want %s", m.get(reasonField), o.reason)
	}
	return nil
}

// decodePadded decodes base64 of which each group of four letters may be padded.
func decodePadded(text string) (string, error) {
	var out []byte
	for ; text != ""; text = text[min(4, len(text)):] {
		group, err := base64.StdEncoding.DecodeString(text[:min(4, len(text))])
		if err != nil {
			return string(out), err
		}
		out = append(out, group...)
	}
	return string(out), nil
}

// matchFields wants every field with exactly that value, and as often; the value *
// stands for any, and a value between slashes is a regular expression for the whole of one.
func matchFields(got, want []field) error {
	for _, w := range want {
		all := values(got, w.name)
		if w.value == "*" {
			if len(all) == 0 {
				return fmt.Errorf("%s is missing", w.name)
			}
			continue
		}
		if len(w.value) > 2 && w.value[0] == '/' && w.value[len(w.value)-1] == '/' {
			re, err := regexp.Compile("^(?:" + w.value[1:len(w.value)-1] + ")$")
			if err != nil {
				return err
			}
			if len(all) != 1 || !re.MatchString(all[0]) {
				return fmt.Errorf("%s is %q, want one that matches %s", w.name, all, w.value)
			}
			continue
		}
		if wanted := values(want, w.name); !slices.Equal(all, wanted) {
			return fmt.Errorf("%s is %q, want %q", w.name, all, wanted)
		}
	}
	return nil
}

// brief shows the beginning of a text and how long it is.
func brief(s string) string {
	if len(s) <= 120 {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%.120q and so on, %d bytes", s, len(s))
}
