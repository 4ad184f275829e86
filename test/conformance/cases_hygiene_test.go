package conformance

import "strings"

// requestHygiene: what is meant for the proxy, not for the endpoint behind it.
var requestHygiene = []testCase{
	{name: "a field that Connection names", rfc: "RFC 9110 §7.6.1", play: forwarded(get("/", "Connection: X-Secret", "X-Secret: a", "X-Other: b"),
		lacks("X-Secret"), has("X-Other", "b"), without("X-Secret"))},
	{name: "fields that Connection names in a list", rfc: "RFC 9110 §7.6.1", play: forwarded(get("/", "Connection: x-a ,, X-B,keep-alive", "X-A: a", "X-B: b", "x-b: c"), lacks("X-A", "X-B"))},
	{name: "fields that a second Connection names", rfc: "RFC 9110 §7.6.1", play: forwarded(get("/", "Connection: keep-alive", "Connection: X-A", "X-A: a"), lacks("X-A"))},
	{name: "a field before the Connection that names it", rfc: "RFC 9110 §7.6.1", play: forwarded(get("/", "X-A: a", "Connection: X-A"), lacks("X-A"))},
	{name: "close is meant for us", rfc: "RFC 9112 §9.6", play: forwarded(get("/", "Connection: close"), without("close"))},
	{name: "Keep-Alive", rfc: "RFC 9110 §7.6.1", play: forwarded(get("/", "Keep-Alive: timeout=5"), lacks("Keep-Alive"))},
	{name: "Proxy-Connection", rfc: "RFC 9110 §7.6.1", play: forwarded(get("/", "Proxy-Connection: keep-alive"), lacks("Proxy-Connection"))},
	{name: "TE", rfc: "RFC 9110 §10.1.4", play: forwarded(get("/", "TE: gzip;q=0.5", "Connection: TE"), lacks("TE"))},
	{name: "TE: trailers goes on as our own, or not at all", rfc: "RFC 9110 §10.1.4", play: forwarded(get("/", "TE: trailers, deflate", "Connection: TE"), func(m *message) string {
		if te := m.list("TE"); len(te) > 0 && (len(te) != 1 || te[0] != "trailers" || !m.has("Connection", "TE")) {
			return "TE: " + te[0]
		}
		return ""
	})},
	{name: "Upgrade that Connection does not name", rfc: "RFC 9110 §7.8", play: forwarded(get("/", "Upgrade: websocket"), lacks("Upgrade"))},
	{name: "an offer of h2c", rfc: "RFC 9113 §3.1", play: forwarded(get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
		lacks("Upgrade", "HTTP2-Settings"))},
	{name: "Connection cannot take the length away", rfc: "RFC 9110 §7.6.1", play: either(post("Connection: Content-Length", "Content-Length: 5")+"hello", content("hello"))},
	{name: "Connection cannot take the coding away", rfc: "RFC 9110 §7.6.1", play: either(post("Connection: Transfer-Encoding", "Transfer-Encoding: chunked")+"5\r\nhello\r\n0\r\n\r\n", content("hello"))},
	{name: "Connection cannot take Host away", rfc: "RFC 9110 §7.6.1", play: either(get("/", "Connection: Host"), has("Host", "example.com"))},
	{name: "chunks are our own", rfc: "RFC 9112 §6.1", play: forwarded(post("Transfer-Encoding: chunked", "Connection: close")+"5\r\nhello\r\n0\r\n\r\n", content("hello"))},
	{name: "Max-Forwards: 0 ends OPTIONS here", rfc: "RFC 9110 §7.6.2", play: endsHere("OPTIONS")},
	{name: "Max-Forwards: 0 ends TRACE here", rfc: "RFC 9110 §7.6.2", play: endsHere("TRACE")},
	{name: "Max-Forwards counts down", rfc: "RFC 9110 §7.6.2", play: func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(head("OPTIONS /a HTTP/1.1", hostField, "Max-Forwards: 10"))
		p.check(c.answer("OPTIONS"), []check{status(200)})
		p.one([]check{has("Max-Forwards", "9")})
	}},
	{name: "Max-Forwards means nothing to GET", rfc: "RFC 9110 §7.6.2", play: forwarded(get("/", "Max-Forwards: 0"))},
}

// endsHere: the proxy answers by itself.
func endsHere(method string) func(*play) {
	return func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(head(method+" /a HTTP/1.1", hostField, "Max-Forwards: 0"))
		c.answer(method)
		p.next()
		p.notForwarded()
		c.settled()
	}
}

// peer is where the clients of the suite come from.
const peer = "127.0.0.1"

// clientIdentity: a client cannot choose its own identity. RFC 7239 speaks of Forwarded; what
// it says of its security holds for the fields that were there before it.
var clientIdentity = []testCase{
	{name: "X-Real-IP cannot be forged", rfc: "RFC 7239 §8.1", play: forwarded(get("/", "X-Real-IP: 192.0.2.66"), has("X-Real-IP", peer))},
	{name: "X-Real-IP cannot be forged by two lines", rfc: "RFC 7239 §8.1", play: forwarded(get("/", "X-Real-IP: 192.0.2.66", "x-real-ip: 192.0.2.67"), has("X-Real-IP", peer))},
	{name: "X-Real-IP cannot be named away", rfc: "RFC 7239 §8.1", play: either(get("/", "Connection: X-Real-IP", "X-Real-IP: 192.0.2.66"), has("X-Real-IP", peer))},
	{name: "X-Forwarded-For ends in the address of the peer", rfc: "RFC 7239 §5.2", play: forwarded(get("/", "X-Forwarded-For: 192.0.2.66"), last("X-Forwarded-For", peer))},
	{name: "X-Forwarded-For of several lines", rfc: "RFC 7239 §5.2", play: forwarded(get("/", "X-Forwarded-For: 192.0.2.66", "X-Forwarded-For: 192.0.2.67"), last("X-Forwarded-For", peer))},
	{name: "X-Forwarded-For cannot be named away", rfc: "RFC 7239 §8.1", play: either(get("/", "Connection: X-Forwarded-For", "X-Forwarded-For: 192.0.2.66"), last("X-Forwarded-For", peer))},
	{name: "X-Forwarded-Proto cannot be forged", rfc: "RFC 7239 §8.1", play: forwarded(get("/", "X-Forwarded-Proto: https"), has("X-Forwarded-Proto", "http"))},
	{name: "X-Forwarded-Proto cannot be named away", rfc: "RFC 7239 §8.1", play: either(get("/", "Connection: X-Forwarded-Proto", "X-Forwarded-Proto: https"), has("X-Forwarded-Proto", "http"))},
	{name: "X-Forwarded-Host is the Host", rfc: "RFC 7239 §8.1", play: forwarded(get("/", "X-Forwarded-Host: other.example"), has("X-Forwarded-Host", "example.com"))},
	{name: "Forwarded does not pass as it came", rfc: "RFC 7239 §8.1", play: forwarded(get("/", "Forwarded: for=192.0.2.66;proto=https"), func(m *message) string {
		if f := m.values("Forwarded"); len(f) == 1 && f[0] == "for=192.0.2.66;proto=https" {
			return "Forwarded: " + f[0]
		}
		return ""
	})},
}

// responseFields: fields on the way back.
var responseFields = []testCase{
	{name: "unknown fields pass", rfc: "RFC 9110 §5.1", play: relayed(reply("200 OK", "Content-Length: 0", "X-Whatever: a;b", "ETag: \"x\"", "Server: s"), has("X-Whatever", "a;b"), has("ETag", `"x"`))},
	{name: "Set-Cookie stays in lines", rfc: "RFC 9110 §5.3", play: relayed(reply("200 OK", "Content-Length: 0", "Set-Cookie: a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "Set-Cookie: b=2"),
		lines("Set-Cookie", "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2"))},
	{name: "lines of one name keep their order", rfc: "RFC 9110 §5.3", play: relayed(reply("200 OK", "Content-Length: 0", "Vary: a", "X-A: 1", "vary: b"), elements("Vary", "a", "b"))},
	{name: "bytes above ASCII in a value pass", rfc: "RFC 9110 §5.5", play: relayed(reply("200 OK", "Content-Length: 0", "X-A: caf\xe9"), has("X-A", "caf\xe9"))},
	{name: "an empty value passes", rfc: "RFC 9110 §5.5", play: relayed(reply("200 OK", "Content-Length: 0", "X-A:"), has("X-A", ""))},
	{name: "a response without Date gets one", rfc: "RFC 9110 §6.6.1", play: relayed(hello, func(m *message) string {
		if len(m.values("Date")) != 1 {
			return "no Date"
		}
		return ""
	})},
	{name: "Date of the endpoint passes, once", rfc: "RFC 9110 §6.6.1", play: relayed(reply("200 OK", "Content-Length: 0", "Date: Tue, 15 Nov 1994 08:12:31 GMT"), func(m *message) string {
		if len(m.values("Date")) != 1 {
			return "two dates"
		}
		return ""
	})},
	{name: "a field that Connection names", rfc: "RFC 9110 §7.6.1", play: relayed(reply("200 OK", "Content-Length: 0", "Connection: X-Secret", "X-Secret: a", "X-Other: b"),
		lacks("X-Secret"), has("X-Other", "b"), without("X-Secret"))},
	{name: "Connection cannot take the length away", rfc: "RFC 9110 §7.6.1", play: relayed(reply("200 OK", "Connection: Content-Length", "Content-Length: 5")+"hello", content("hello"))},
	{name: "Keep-Alive and Proxy-Connection", rfc: "RFC 9110 §7.6.1", play: relayed(reply("200 OK", "Content-Length: 0", "Keep-Alive: timeout=77", "Proxy-Connection: close"), func(m *message) string {
		if m.has("Keep-Alive", "timeout=77") || len(m.values("Proxy-Connection")) > 0 {
			return "passed on"
		}
		return ""
	})},
	{name: "Upgrade in an ordinary response", rfc: "RFC 9110 §7.8", play: relayed(reply("200 OK", "Content-Length: 0", "Connection: Upgrade", "Upgrade: h2c"), lacks("Upgrade"))},
	{name: "a space before the colon", rfc: "RFC 9112 §5.1", play: eitherRelayed(reply("200 OK", "Content-Length: 0", "X-A : b"))},
	{name: "a line without a colon", rfc: "RFC 9112 §5", play: eitherRelayed(reply("200 OK", "Content-Length: 0", "nonsense"))},
	{name: "a bracket in a name", rfc: "RFC 9110 §5.1", play: eitherRelayed(reply("200 OK", "Content-Length: 0", "X(A): b"))},
	{name: "a NUL in a value", rfc: "RFC 9110 §5.5", play: eitherRelayed(reply("200 OK", "Content-Length: 0", "X-A: b\x00c"), has("X-A", "b c"))},
	{name: "a bare CR in a value", rfc: "RFC 9110 §5.5", play: eitherRelayed(reply("200 OK", "Content-Length: 0", "X-A: b\rc"), has("X-A", "b c"))},
	{name: "a folded line", rfc: "RFC 9112 §5.2", play: eitherRelayed(reply("200 OK", "Content-Length: 0", "X-A: b\r\n c"), unfolded("X-A", "b c"))},
	{name: "lines that end in LF", rfc: "RFC 9112 §2.2", play: eitherRelayed("HTTP/1.1 200 OK\nContent-Length: 5\nX-A: b\n\nhello", content("hello"), has("X-A", "b"))},
	{name: "a head of 3 KiB", rfc: "RFC 9110 §5.4", play: relayed(reply("200 OK", "Content-Length: 0", "X-A: "+repeat("a", 1_500), "X-B: "+repeat("b", 1_500)), has("X-B", repeat("b", 1_500)))},
	{name: "a head of 2 MiB", rfc: "RFC 9110 §5.4", play: rejected(reply("200 OK", "Content-Length: 0", "X-A: "+repeat("a", 2<<20)))},
}

// statusLines: the first line of a response, and responses before the final one.
var statusLines = []testCase{
	{name: "an unknown status", rfc: "RFC 9110 §15", play: relayed(reply("299 Whatever", "Content-Length: 5")+"hello", status(299), content("hello"))},
	{name: "an empty reason", rfc: "RFC 9112 §4", play: relayed("HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", status(200), content("hello"))},
	{name: "no reason and no space", rfc: "RFC 9112 §4", play: eitherRelayed("HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", status(200), content("hello"))},
	{name: "HTTP/1.0 becomes our own version", rfc: "RFC 9110 §6.2", play: relayed("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", start("HTTP/1.1 200 OK"), content("hello"))},
	{name: "four digits", rfc: "RFC 9112 §4", play: rejected("HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello")},
	{name: "two digits", rfc: "RFC 9112 §4", play: rejected("HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello")},
	{name: "a status below 100", rfc: "RFC 9110 §15", play: rejected("HTTP/1.1 099 OK\r\nContent-Length: 5\r\n\r\nhello")},
	{name: "a status that is a word", rfc: "RFC 9112 §4", play: rejected("HTTP/1.1 OK\r\nContent-Length: 5\r\n\r\nhello")},
	{name: "no version", rfc: "RFC 9112 §4", play: rejected("200 OK\r\nContent-Length: 5\r\n\r\nhello")},
	{name: "a version in small letters", rfc: "RFC 9112 §2.3", play: rejected("http/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")},
	{name: "HTTP/2.0", rfc: "RFC 9110 §2.5", play: rejected("HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")},
	{name: "another protocol", rfc: "RFC 9112 §4", play: rejected("SSH-2.0-OpenSSH_9.2\r\n\r\n")},
	{name: "a page without a head", rfc: "RFC 9112 §2.3", play: rejected("<html>hello</html>\r\n\r\n" + fin)},
	{name: "a control byte in the reason", rfc: "RFC 9112 §4", play: eitherRelayed("HTTP/1.1 200 O\x00K\r\nContent-Length: 5\r\n\r\nhello", start("HTTP/1.1 200 OK"))},
	{name: "no response at all", rfc: "RFC 9110 §15.6.3", play: rejected(fin)},
	{name: "a head cut short", rfc: "RFC 9112 §8", play: rejected("HTTP/1.1 200 OK\r\nContent-Le" + fin)},
	{name: "103 and the response behind it", rfc: "RFC 9110 §15.2", play: relayed(reply("103 Early Hints", "Link: </a.css>")+hello, status(200), content("hello"), func(m *message) string {
		if len(m.interim) != 1 || m.interim[0].status() != 103 || !m.interim[0].has("Link", "</a.css>") {
			return "103 not passed on"
		}
		return ""
	})},
	{name: "103 arrives before the response is there", rfc: "RFC 9110 §15.2", play: func(p *play) {
		c := p.dial()
		c.send(get("/"))
		e := p.accept()
		e.request()
		e.send(reply("103 Early Hints", "Link: </a.css>"))
		m, err := c.head()
		if err != nil || !strings.HasPrefix(m.start, "HTTP/1.1 103") {
			p.failf("103 not passed on: %v", explain(err))
		}
		e.send(hello)
		p.check(c.answer("GET"), []check{status(200), content("hello")})
	}},
	{name: "several interim responses", rfc: "RFC 9110 §15.2", play: relayed(reply("102 Processing")+reply("103 Early Hints")+reply("103 Early Hints")+hello, status(200), content("hello"))},
	{name: "an unknown status of the 1xx class", rfc: "RFC 9110 §15.2", play: relayed(reply("199 Whatever")+hello, status(200), content("hello"))},
	{name: "100 without an Expect", rfc: "RFC 9110 §15.2.1", play: relayed(reply("100 Continue")+hello, status(200), content("hello"))},
	{name: "a client of HTTP/1.0 gets no interim response", rfc: "RFC 9110 §15.2", play: relayedTo(head("GET / HTTP/1.0", hostField), reply("103 Early Hints")+hello, content("hello"), func(m *message) string {
		if len(m.interim) > 0 {
			return "103 passed on"
		}
		return ""
	})},
	{name: "101 without an Upgrade", rfc: "RFC 9110 §7.8", play: rejected(reply("101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket") + "hello")},
}
