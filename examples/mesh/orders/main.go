// Command orders is a service of the example: it takes orders from the service shop, over HTTP, and
// asks the service stock by gRPC. Both go through the sidecar beside it, in the clear: the caller is in
// the field Client-Cert, which only the sidecar can set.
package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// An order is the answer to the shop.
type order struct {
	Item     string          `json:"item"`
	Caller   string          `json:"caller"`   // its SPIFFE ID
	Serial   string          `json:"serial"`   // of its certificate, which changes with each rotation
	Instance string          `json:"instance"` // that took the order
	Stock    json.RawMessage `json:"stock"`    // answer of the service stock
}

func main() {
	listen := cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:7201")
	mesh := cmp.Or(os.Getenv("MESH"), "http://127.0.0.1:7202") // outbound, of the sidecar
	http.HandleFunc("POST /order/{item}", func(w http.ResponseWriter, r *http.Request) {
		o := order{Item: r.PathValue("item"), Instance: listen}
		var err error
		if o.Caller, o.Serial, err = caller(r); err == nil {
			o.Stock, err = call(r.Context(), mesh+"/stock.Stock/Take", []byte(fmt.Sprintf(`{"item": %q}`, o.Item)))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(o)
	})
	http.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	server := &http.Server{Addr: listen}
	go func() {
		end := make(chan os.Signal, 1)
		signal.Notify(end, syscall.SIGTERM)
		<-end
		server.Shutdown(context.Background())
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	time.Sleep(time.Second) // for what Shutdown still answers
}

// caller is the one that asks, as the sidecar has verified it (RFC 9440).
func caller(r *http.Request) (id, serial string, err error) {
	der, err := base64.StdEncoding.DecodeString(strings.Trim(r.Header.Get("Client-Cert"), ":"))
	if err != nil {
		return "", "", err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return "", "", fmt.Errorf("Client-Cert: %w", err)
	}
	if len(c.URIs) != 1 {
		return "", "", fmt.Errorf("the certificate of %s has no SPIFFE ID", c.Subject)
	}
	return c.URIs[0].String(), c.SerialNumber.Text(16), nil
}

// h2c speaks HTTP/2 without TLS, as gRPC does: the sidecar is on this machine.
var h2c = func() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: protocols}, Timeout: 10 * time.Second}
}()

// call is a unary call of gRPC whose messages are JSON. A program of yours has a library for this.
func call(ctx context.Context, url string, message []byte) (json.RawMessage, error) {
	frame := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(frame))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/grpc+json")
	r.Header.Set("TE", "trailers")
	answer, err := h2c.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	status, text := answer.Trailer.Get("Grpc-Status"), answer.Trailer.Get("Grpc-Message")
	if status == "" { // the head is the only one: an error
		status, text = answer.Header.Get("Grpc-Status"), answer.Header.Get("Grpc-Message")
	}
	if answer.StatusCode != http.StatusOK || status != "0" || len(content) < 5 {
		return nil, fmt.Errorf("stock: HTTP status %d, gRPC status %q %s", answer.StatusCode, status, text)
	}
	return content[5:], nil
}
