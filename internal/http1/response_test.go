package http1

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
)

// describeResponse is what was understood of a response, on one line.
func describeResponse(r *message.Response) string {
	s := fmt.Sprintf("%d %q 1.%d %s", r.Status, r.Reason, r.Minor, [...]string{"none", "length", "chunked", "close"}[r.Body])
	if r.Length != 0 {
		s += fmt.Sprintf(" %d", r.Length)
	}
	if r.KeepAlive {
		s += " keep"
	}
	if r.Upgrade != nil {
		s += fmt.Sprintf(" upgrade=%s", r.Upgrade)
	}
	return s
}

func TestResponsesAccepted(t *testing.T) {
	for _, c := range []struct{ section, method, head, want string }{
		{"RFC 9112 §4", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", `200 "OK" 1.1 length 3 keep`},
		{"RFC 9112 §4: no reason", "GET", "HTTP/1.1 200 \r\nContent-Length: 0\r\n", `200 "" 1.1 length keep`},
		{"RFC 9112 §4: nor the space", "GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n", `200 "" 1.1 length keep`},
		{"RFC 9112 §4: obs-text, HTAB", "GET", "HTTP/1.1 404 N\xf6\tt here\r\nContent-Length: 0\r\n", `404 "N\xf6\tt here" 1.1 length keep`},
		{"RFC 9110 §15", "GET", "HTTP/1.1 599 \r\nContent-Length: 0\r\n", `599 "" 1.1 length keep`},
		{"RFC 9112 §2.3", "GET", "HTTP/1.9 200 OK\r\nContent-Length: 1\r\n", `200 "OK" 1.1 length 1 keep`},
		{"RFC 9112 §6.3 (1)", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", `200 "OK" 1.1 none 3 keep`},
		{"RFC 9112 §6.3 (1)", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", `200 "OK" 1.1 none keep`},
		{"RFC 9112 §6.3 (1)", "HEAD", "HTTP/1.1 200 OK\r\n", `200 "OK" 1.1 none keep`},
		{"RFC 9112 §6.3 (1)", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n", `304 "Not Modified" 1.1 none 3 keep`},
		{"RFC 9112 §6.3 (1)", "GET", "HTTP/1.1 204 No Content\r\n", `204 "No Content" 1.1 none keep`},
		{"RFC 9112 §6.3 (1)", "GET", "HTTP/1.1 100 Continue\r\n", `100 "Continue" 1.1 none keep`},
		{"RFC 9112 §6.3 (1)", "GET", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n", `103 "Early Hints" 1.1 none keep`},
		{"RFC 9110 §8.6: common, harmless", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n", `204 "No Content" 1.1 none keep`},
		{"RFC 9110 §8.6: might come", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n", `204 "No Content" 1.1 none 4`},
		{"RFC 9112 §6.1: might come", "GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n", `204 "No Content" 1.1 none`},
		{"RFC 9112 §6.3 (2)", "CONNECT", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n", `200 "OK" 1.1 none 4`},
		{"RFC 9112 §6.3 (2)", "CONNECT", "HTTP/1.1 403 No\r\nContent-Length: 4\r\n", `403 "No" 1.1 length 4 keep`},
		{"RFC 9112 §6.3 (4)", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", `200 "OK" 1.1 chunked keep`},
		{"RFC 9112 §6.3 (8)", "GET", "HTTP/1.1 200 OK\r\n", `200 "OK" 1.1 close`},
		{"RFC 9112 §6.3 (8)", "GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", `200 "OK" 1.0 close`},
		{"RFC 9112 §9.3", "GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n", `200 "OK" 1.0 length 1 keep`},
		{"RFC 9112 §9.3", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n", `200 "OK" 1.0 length 1`},
		{"RFC 9112 §9.6", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n", `200 "OK" 1.1 length 1`},
		{"RFC 9110 §7.8", "GET", "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n", `101 "Switching" 1.1 none keep upgrade=websocket`},
	} {
		var r message.Response
		head := c.head + "\r\n"
		n, err := ParseResponse([]byte(head+"HTTP/1.1 "), 0, &r, []byte(c.method), nil)
		if err != nil || n != len(head) {
			t.Errorf("%s: %q: %d of %d, %v", c.section, c.head, n, len(head), err)
		} else if got := describeResponse(&r); got != c.want {
			t.Errorf("%s: %q:\n got %s\nwant %s", c.section, c.head, got, c.want)
		}
	}
}

func TestResponsesRefused(t *testing.T) {
	ok := func(fields string) string { return "HTTP/1.1 200 OK\r\n" + fields + "\r\n" }
	for _, c := range []struct{ section, head, reason string }{
		{"RFC 9112 §4", "garbage\r\n\r\n", "bad-version"},
		{"RFC 9112 §4", "\r\nHTTP/1.1 200 OK\r\n\r\n", "bad-version"},
		{"RFC 9112 §4", "HTTP/1.1 2000 OK\r\n\r\n", "bad-status-line"},
		{"RFC 9112 §4", "HTTP/1.1 20 OK\r\n\r\n", "bad-status-line"},
		{"RFC 9112 §4", "HTTP/1.1 2x0 OK\r\n\r\n", "bad-status-line"},
		{"RFC 9112 §4", "HTTP/1.1 -20 OK\r\n\r\n", "bad-status-line"},
		{"RFC 9112 §4", "HTTP/1.1 099 OK\r\n\r\n", "bad-status-line"},
		{"RFC 9112 §4", "HTTP/1.1  200 OK\r\n\r\n", "bad-status-line"},
		{"RFC 9112 §4", "HTTP/1.1\t200 OK\r\n\r\n", "bad-status-line"},
		{"RFC 9112 §4", "HTTP/1.1 200\tOK\r\n\r\n", "bad-status-line"},
		{"RFC 9112 §4", "HTTP/1.1 200 O\x00K\r\n\r\n", "bad-status-line"},
		{"RFC 9112 §4", "HTTP/1.1\r\n\r\n", "bad-status-line"},
		{"RFC 9112 §2.2", "HTTP/1.1 200 OK\nContent-Length: 1\n\n", "bad-line-end"},
		{"RFC 9112 §2.2", ok("X: a\n"), "bad-line-end"},
		{"RFC 9112 §2.2", ok("X: a\rSet-Cookie: b\r\n"), "bad-line-end"},
		{"RFC 9112 §2.3", "HTTP/2.0 200 OK\r\n\r\n", "version-not-supported"},
		{"RFC 9112 §2.3", "ICY 200 OK\r\n\r\n", "bad-version"},
		{"RFC 9112 §5.1", ok("X : a\r\n"), "bad-field-name"},
		{"RFC 9112 §5.1", ok("nothing\r\n"), "bad-field-name"},
		{"RFC 9110 §5.5", ok("X: \x01\r\n"), "bad-field-value"},
		{"RFC 9112 §5.2", ok("X: a\r\n b\r\n"), "obs-fold"},
		{"RFC 9112 §6.3 (3)", ok("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), "ambiguous-framing"},
		{"RFC 9112 §6.3 (5)", ok("Content-Length: 1\r\nContent-Length: 2\r\n"), "several-content-lengths"},
		{"RFC 9112 §6.3 (5)", ok("Content-Length: 1, 2\r\n"), "bad-content-length"},
		{"RFC 9112 §6.3 (5)", ok("Content-Length: abc\r\n"), "bad-content-length"},
		{"RFC 9112 §6.3 (5)", ok("Content-Length: -1\r\n"), "bad-content-length"},
		{"RFC 9112 §6.3 (4)", ok("Transfer-Encoding: chunked, gzip\r\n"), "bad-transfer-encoding"},
		{"RFC 9112 §6.3 (4)", ok("Transfer-Encoding: gzip\r\n"), "unknown-transfer-coding"},
		{"RFC 9112 §6.1", ok("Transfer-Encoding: gzip, chunked\r\n"), "unknown-transfer-coding"},
		{"RFC 9112 §6.1", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer-encoding-in-http-1.0"},
		{"RFC 9110 §7.8", "HTTP/1.1 101 Switching\r\n\r\n", "bad-upgrade"},
		{"RFC 9110 §7.8", "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n", "bad-upgrade"},
		{"bounded", ok(strings.Repeat("X: a\r\n", limits.FieldsMax+1)), "too-many-fields"},
		{"bounded", ok("X: " + strings.Repeat("a", 2<<20) + "\r\n"), "response-head-too-large"},
	} {
		var r message.Response
		n, err := ParseResponse([]byte(c.head), 0, &r, []byte("GET"), nil)
		var e *Error
		if n != 0 || !errors.As(err, &e) || e.Status != 502 || e.Reason != c.reason {
			t.Errorf("%s: %.80q: %d, %v; want 502 %s", c.section, c.head, n, err, c.reason)
		}
	}
	if errAmbiguous.Status != 400 {
		t.Error("a shared error was changed")
	}
}

// Refused framing is refused whatever the status or the method says about content.
func TestResponseFramingIsCheckedWithoutContent(t *testing.T) {
	for _, start := range []string{"HTTP/1.1 304 \r\n", "HTTP/1.1 204 \r\n", "HTTP/1.1 103 \r\n", "HTTP/1.1 200 \r\n"} {
		for _, fields := range []string{"Content-Length: x\r\n", "Content-Length: 1\r\ncontent-length: 2\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n"} {
			var r message.Response
			if n, err := ParseResponse([]byte(start+fields+"\r\n"), 0, &r, []byte("HEAD"), nil); n != 0 || err == nil {
				t.Errorf("%q %q: %d, %v", start, fields, n, err)
			}
		}
	}
}

func TestResponseByteByByte(t *testing.T) {
	checkPrefixes(t, []byte(jsonResponse+"HTTP/1.1 200"), responsePrefix("GET"))
	for _, bad := range []string{"HTTP/1.1 20 \r\n\r\n", "HTTP/1.1 200 OK\r\nA b\r\n\r\n", "HTTP/1.1 200\rOK"} {
		checkPrefixes(t, []byte(bad), responsePrefix("GET"))
	}
}

func responsePrefix(method string) func([]byte) (string, int, error) {
	return func(b []byte) (string, int, error) {
		var r message.Response
		n, err := ParseResponse(b, 0, &r, []byte(method), nil)
		if n == 0 {
			return "", n, err
		}
		return describeResponse(&r), n, err
	}
}
