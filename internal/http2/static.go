package http2

// The static table of RFC 7541, Appendix A: fields that both sides know by number.

import "github.com/poise-lb/poise/internal/message"

// staticLen is how many entries there are; the dynamic table goes on behind them.
const staticLen = 61

// A staticField is an entry of the static table.
type staticField struct {
	name, value []byte // never written to
	meta        meta
}

// statics is the static table, by index; there is no index 0.
var statics = func() (t [staticLen + 1]staticField) {
	for i := range t {
		name := []byte(staticText[i][0])
		t[i] = staticField{name: name, value: []byte(staticText[i][1]), meta: metaOf(name)}
		t[i].meta.static = uint8(i)
	}
	return t
}()

// staticOf is the first index of the static table that has the name of a known field; 0: none.
var staticOf = func() (t [256]uint8) {
	for i := staticLen; i > 0; i-- {
		if k := statics[i].meta.kind; k != message.Other {
			t[k] = uint8(i)
		}
	}
	return t
}()

// The first index of each pseudo-field.
const (
	staticAuthority = 1
	staticGet       = 2
	staticPost      = 3
	staticPath      = 4
	staticHTTP      = 6
	staticHTTPS     = 7
	staticStatus    = 8
)

var staticText = [staticLen + 1][2]string{
	{},
	{":authority", ""},
	{":method", "GET"},
	{":method", "POST"},
	{":path", "/"},
	{":path", "/index.html"},
	{":scheme", "http"},
	{":scheme", "https"},
	{":status", "200"},
	{":status", "204"},
	{":status", "206"},
	{":status", "304"},
	{":status", "400"},
	{":status", "404"},
	{":status", "500"},
	{"accept-charset", ""},
	{"accept-encoding", "gzip, deflate"},
	{"accept-language", ""},
	{"accept-ranges", ""},
	{"accept", ""},
	{"access-control-allow-origin", ""},
	{"age", ""},
	{"allow", ""},
	{"authorization", ""},
	{"cache-control", ""},
	{"content-disposition", ""},
	{"content-encoding", ""},
	{"content-language", ""},
	{"content-length", ""},
	{"content-location", ""},
	{"content-range", ""},
	{"content-type", ""},
	{"cookie", ""},
	{"date", ""},
	{"etag", ""},
	{"expect", ""},
	{"expires", ""},
	{"from", ""},
	{"host", ""},
	{"if-match", ""},
	{"if-modified-since", ""},
	{"if-none-match", ""},
	{"if-range", ""},
	{"if-unmodified-since", ""},
	{"last-modified", ""},
	{"link", ""},
	{"location", ""},
	{"max-forwards", ""},
	{"proxy-authenticate", ""},
	{"proxy-authorization", ""},
	{"range", ""},
	{"referer", ""},
	{"refresh", ""},
	{"retry-after", ""},
	{"server", ""},
	{"set-cookie", ""},
	{"strict-transport-security", ""},
	{"transfer-encoding", ""},
	{"user-agent", ""},
	{"vary", ""},
	{"via", ""},
	{"www-authenticate", ""},
}
