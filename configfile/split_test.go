package configfile

import (
	"reflect"
	"testing"

	"github.com/poise-lb/poise/config"
)

// TestSplitIsDecoded in both its forms; a weight of 0 is off.
func TestSplitIsDecoded(t *testing.T) {
	const services = "version: 1\nservices: {a: {endpoints: ['http://127.0.0.1:1']}, b: {endpoints: ['http://127.0.0.1:2']}}\nroutes:\n- "
	shares := []config.Share{{Service: "a", Weight: 95}, {Service: "b", Off: true}}
	for text, want := range map[string]config.Split{
		"split: [{service: a, weight: 95}, {service: b, weight: 0}]":                                               {Services: shares},
		"split: {services: [{service: a, weight: 95}, {service: b, weight: 0}], by: cookie(sid), otherwise: none}": {Services: shares, By: "cookie(sid)", Otherwise: "none"},
	} {
		c, err := Parse("f", []byte(services+text), nil)
		if err != nil || !reflect.DeepEqual(*c.Routes[0].Split, want) {
			t.Errorf("%s: %v, %+v", text, err, c.Routes)
			continue
		}
		again, err := Parse("f", Write(&c), nil)
		if err != nil || !reflect.DeepEqual(again.Routes, c.Routes) {
			t.Errorf("%s is written as %s: %v", text, Write(&c), err)
		}
		if c.Routes[0].Split.Services[0].Part() != 95 || c.Routes[0].Split.Services[1].Part() != 0 || (&config.Share{}).Part() != 1 {
			t.Errorf("%s: weights of %+v", text, c.Routes[0].Split)
		}
	}
}
