package nacos

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/poise-lb/poise/discovery/internal/client"
)

// A conn is one connection to a server: calls, and one stream in both directions over which
// the server asks and pushes. The server ties what a client subscribed and announced to the
// connection; so everything has to go over the same one, and is gone when it is.
type conn struct {
	client   *http.ClientConn
	base     string // scheme://host:port
	clientIP string
	timeout  time.Duration
	push     func(serviceJSON) // called by the reader

	cancel context.CancelFunc
	out    *io.PipeWriter // the stream to the server
	done   chan struct{}  // closed when the stream has ended
	err    error          // why; valid when done is closed
}

// A remoteError is an answer that says that something is wrong.
type remoteError struct {
	code    int
	message string
}

func (e *remoteError) Error() string {
	return fmt.Sprintf("the server says: %.200s (code %d)", e.message, e.code)
}

// Error codes of the interface.
const (
	codeUnregistered = 301 // the stream's connection is not known, or not yet
	codeForbidden    = 403
)

var (
	errReset       = errors.New("the server sends its clients elsewhere")
	errUnreachable = errors.New("not reachable")
)

// dial connects to the gRPC port of s and opens the stream. It does not wait until the
// server has taken notice of that.
func dial(ctx context.Context, s server, c Config, push func(serviceJSON)) (*conn, error) {
	n := &conn{base: "http://" + s.grpc, timeout: c.Timeout, push: push, done: make(chan struct{})}
	if push == nil {
		n.push = func(serviceJSON) {}
	}
	var protocols http.Protocols
	transport := &http.Transport{Protocols: &protocols}
	scheme := "http"
	if c.TLS != nil {
		protocols.SetHTTP2(true)
		transport.TLSClientConfig = c.TLS.Clone()
		transport.TLSHandshakeTimeout = c.Timeout
		scheme = "https"
		n.base = "https://" + s.grpc
	} else {
		protocols.SetUnencryptedHTTP2(true)
	}
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		to, err := c.dial(ctx, network, address)
		if err == nil {
			n.clientIP, _, _ = net.SplitHostPort(to.LocalAddr().String())
		}
		return to, err
	}
	dialing, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var err error
	if n.client, err = transport.NewClientConn(dialing, scheme, s.grpc); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	n.open(ctx)
	return n, nil
}

// open begins the stream and the reader, which ends when ctx does or close is called.
func (n *conn) open(ctx context.Context) {
	ctx, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	in, out := io.Pipe()
	n.out = out
	req := n.request(ctx, "/BiRequestStream/requestBiStream", in)
	go func() {
		n.err = n.read(req)
		in.CloseWithError(io.ErrClosedPipe) // send does not wait for a stream that is over
		close(n.done)
	}()
}

// close ends the connection and waits for the reader. It may be called once.
func (n *conn) close() {
	n.cancel()
	n.out.Close()
	n.client.Close()
	<-n.done
}

func (n *conn) request(ctx context.Context, method string, content io.Reader) *http.Request {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.base+method, content)
	if err != nil {
		panic("nacos: " + err.Error()) // parseServers has let only addresses pass
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	return req
}

// call sends a request and reads the answer into out, if that is not nil.
func (n *conn) call(ctx context.Context, kind string, headers map[string]string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	p := payload{kind: kind, headers: headers, clientIP: n.clientIP, body: body}
	resp, err := n.client.RoundTrip(n.request(ctx, "/Request/request", bytes.NewReader(p.frame())))
	if err != nil {
		return client.Plain(ctx, err)
	}
	defer resp.Body.Close()
	answer, err := readPayload(resp.Body)
	if err == nil {
		io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10)) // up to the trailers
	}
	if status := rpcError(resp); status != nil {
		return status
	}
	if err != nil {
		return client.Plain(ctx, err)
	}
	return answer.into(out)
}

// rpcError is what gRPC says about a call: in the trailers, or in the head if there was no
// answer; and nil if it says that all is well, or nothing because content is missing.
func rpcError(resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP status %d: is this the gRPC port?", resp.StatusCode)
	}
	status := cmp.Or(resp.Trailer.Get("Grpc-Status"), resp.Header.Get("Grpc-Status"), "0")
	if status == "0" {
		return nil
	}
	message := cmp.Or(resp.Trailer.Get("Grpc-Message"), resp.Header.Get("Grpc-Message"))
	return fmt.Errorf("gRPC status %.20s %.200s", status, message)
}

// into reads an answer.
func (p payload) into(out any) error {
	var base struct {
		ResultCode int    `json:"resultCode"`
		ErrorCode  int    `json:"errorCode"`
		Message    string `json:"message"`
	}
	if err := json.Unmarshal(p.body, &base); err != nil {
		return fmt.Errorf("%w: %s: %w", errWire, p.kind, err)
	}
	if base.ResultCode != http.StatusOK || p.kind == "ErrorResponse" {
		return &remoteError{cmp.Or(base.ErrorCode, base.ResultCode), base.Message}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(p.body, out)
}

// send writes to the stream. It waits until the bytes are taken, or the stream ends.
func (n *conn) send(kind string, body any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, err = n.out.Write(payload{kind: kind, clientIP: n.clientIP, body: content}.frame())
	return err
}

// read answers what the server asks until the stream ends, and says why it did. The
// server's head may come as late as its first message.
func (n *conn) read(req *http.Request) error {
	resp, err := n.client.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for {
		p, err := readPayload(resp.Body)
		if err != nil {
			if status := rpcError(resp); status != nil {
				return status
			}
			if err == io.EOF {
				return errors.New("the server has closed the connection")
			}
			return err
		}
		if err := n.handle(p); err != nil {
			return err
		}
	}
}

// handle acts on one request of the server. Those that are not for us have no answer.
func (n *conn) handle(p payload) error {
	var in struct {
		ID      string      `json:"requestId"`
		Service serviceJSON `json:"serviceInfo"`
	}
	if err := json.Unmarshal(p.body, &in); err != nil {
		return fmt.Errorf("%w: %s: %w", errWire, p.kind, err)
	}
	name, isRequest := strings.CutSuffix(p.kind, "Request")
	switch {
	case !isRequest:
		return nil
	case name == "NotifySubscriber":
		n.push(in.Service)
	case name == "ClientDetection":
	case name == "ConnectReset":
		return errReset
	default: // SetupAck, for one
		return nil
	}
	return n.send(name+"Response", map[string]any{"resultCode": 200, "requestId": in.ID, "success": true})
}
