package config

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestValidateFindsMistakesOfTheAccessLog(t *testing.T) {
	for _, c := range []struct {
		path, message, near string
		change              func(c *Config)
	}{
		{"access_log.format", "neither json, combined nor ecs", "combined", func(c *Config) { c.AccessLog.Format = "combind" }},
		{"access_log.format", "neither json, combined nor ecs", "", func(c *Config) { c.AccessLog.Format = "hello" }},
		{"access_log.format", "$remote_adr is not a variable", "$remote_addr", func(c *Config) { c.AccessLog.Format = "$remote_adr" }},
		{"access_log.format", "$http_ is not a variable", "", func(c *Config) { c.AccessLog.Format = "$http_" }},
		{"access_log.format", "${ without }", "", func(c *Config) { c.AccessLog.Format = "${status" }},
		{"access_log.format", "not followed by the name", "", func(c *Config) { c.AccessLog.Format = "5$ $status" }},
		{"access_log.format", "one line", "", func(c *Config) { c.AccessLog.Format = "$status\n$uri" }},
		{"access_log.format", "no way to escape", "json", func(c *Config) { c.AccessLog.Format = "escape=jsn $status" }},
		{"access_log.format", "more than 128 variables", "", func(c *Config) { c.AccessLog.Format = strings.Repeat("$status", 129) }},
		{"access_log.format", "more than 4096", "", func(c *Config) { c.AccessLog.Format = "$status" + strings.Repeat("x", 4096) }},
		{"access_log.fields.request[1]", "not the name of a field", "", func(c *Config) { c.AccessLog.Fields.Request = []string{"A", "B:"} }},
		{"access_log.fields", "33 fields are more than 32", "", func(c *Config) { c.AccessLog.Fields.Response = slices.Repeat([]string{"A"}, 33) }},
		{"access_log.fields.query", "not one of", "redact", func(c *Config) { c.AccessLog.Fields.Query = "redacted" }},
		{"access_log.sample.rate", "not a share", "", func(c *Config) { c.AccessLog.Sample.Rate = "0.01" }},
		{"access_log.sample.rate", "not a share", "", func(c *Config) { c.AccessLog.Sample.Rate = "101%" }},
		{"access_log.sample.rate", "not a share", "", func(c *Config) { c.AccessLog.Sample.Rate = "NaN%" }},
		{"access_log.sample.always[0]", "no rule", "retried", func(c *Config) { c.AccessLog.Sample.Always = []string{"retryed"} }},
		{"access_log.sample.always[1]", "needs a time", "slower 1s", func(c *Config) { c.AccessLog.Sample.Always = []string{"5xx", "slower"} }},
		{"access_log.mode", "not a mode", "", func(c *Config) { c.AccessLog.Mode = "rw-r-----" }},
		{"access_log.mode", "may not write", "", func(c *Config) { c.AccessLog.Mode = "0440" }},
	} {
		broken := good()
		c.change(&broken)
		err := broken.Validate()
		if err == nil {
			t.Errorf("%s %q: nothing is found", c.path, c.message)
			continue
		}
		list := err.(*Errors).List
		if len(list) != 1 || list[0].Path != c.path || list[0].Near != c.near || !strings.Contains(list[0].Message, c.message) {
			t.Errorf("%s %q, near %q: found %v", c.path, c.message, c.near, list)
		}
	}
}

func TestAccessLogsThatAreValid(t *testing.T) {
	for _, a := range []AccessLog{
		{Format: "$remote_addr ${request_time}s $http_x_y $sent_http_content_type"},
		{Format: "escape=json {\"s\": $status}\n"},
		{Format: "ecs", Mode: "600", Sample: LogSample{Rate: "0%", Always: []string{"5xx", "404", "retried", "failed", "slower 1m30s"}}},
	} {
		c := good()
		c.AccessLog = a
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", a, err)
		}
	}
}

func TestTemplateHasItsParts(t *testing.T) {
	got, _, err := AccessLog{Format: "escape=json a${status}s$uri-$args\t"}.Template()
	want := []LogPart{{Text: "a"}, {Variable: "status"}, {Text: "s"}, {Variable: "uri"}, {Text: "-"}, {Variable: "args"}, {Text: "\t"}}
	if err != nil || !got.JSON || !slices.Equal(got.Parts, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestLogRules(t *testing.T) {
	r, err := LogSample{Always: []string{"5xx", "404", "slower 2s", "slower 1s", "failed"}}.Rules()
	if err != nil || !r.Statuses[500] || !r.Statuses[599] || r.Statuses[499] || !r.Statuses[404] || r.Slower != time.Second || !r.Failed || r.Retried {
		t.Errorf("%+v, %v", r, err)
	}
	if n, err := (LogSample{Rate: "0.5%"}).Share(); n != 0.005 || err != nil {
		t.Error(n, err)
	}
}
