package exchange

import (
	"testing"

	"github.com/poise-lb/poise/internal/message"
)

func TestWhichLoginsAreOfAConnection(t *testing.T) {
	for value, want := range map[string]bool{
		"NTLM":                               true,
		"ntlm TlRMTVNTUAAB":                  true,
		"Negotiate":                          true,
		"negotiate YIIB=":                    true,
		`Basic realm="x", Negotiate`:         true,
		`Digest realm="a", nonce="b" , NTLM`: true,
		"Kerberos YII=":                      true,
		"CredSSP":                            true,
		"Basic dTpw":                         false,
		"Bearer NTLM":                        false,
		`Basic realm="NTLM"`:                 false,
		"NTLMv3":                             false,
		"":                                   false,
	} {
		if got := bindsConnection([]byte(value)); got != want {
			t.Errorf("%q: %v", value, got)
		}
		r := &message.Response{Status: 401, Fields: []message.Field{message.NewField("Www-authenticate", value)}}
		if got := challenged(r); got != want {
			t.Errorf("401 with %q: %v", value, got)
		}
		if r.Status = 200; challenged(r) {
			t.Errorf("200 with %q is no challenge", value)
		}
	}
}
