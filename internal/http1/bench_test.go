package http1

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/message"
)

// browserRequest is a typical head with twelve fields.
var browserRequest = strings.ReplaceAll(`GET /api/v1/users/1842/orders?status=open&limit=50 HTTP/1.1
Host: api.example.com
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0
Accept: application/json, text/plain, */*
Accept-Language: en-US,en;q=0.5
Accept-Encoding: gzip, deflate, br
Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxODQyIn0
Cookie: sid=3fd1c2a7b8e94f0c; theme=dark
Origin: https://www.example.com
Referer: https://www.example.com/account/orders
X-Request-Id: 8d1f6a1e-5d0d-4a3c-9a57-3e1f7e0f8c11
Sec-Fetch-Mode: cors
Connection: keep-alive

`, "\n", "\r\n")

var jsonResponse = strings.ReplaceAll(`HTTP/1.1 200 OK
Server: nginx/1.22.1
Date: Tue, 04 Mar 2025 10:11:12 GMT
Content-Type: application/json; charset=utf-8
Content-Length: 1532
Connection: keep-alive
ETag: "5f3a-61b2c9d4e8f00"
Cache-Control: private, max-age=0, must-revalidate
Vary: Accept-Encoding
X-Request-Id: 8d1f6a1e-5d0d-4a3c-9a57-3e1f7e0f8c11

`, "\n", "\r\n")

func BenchmarkParseRequest(b *testing.B) {
	b.Run("h1", func(b *testing.B) {
		head := []byte(browserRequest)
		var r message.Request
		b.SetBytes(int64(len(head)))
		b.ReportAllocs()
		for b.Loop() {
			if n, err := ParseRequest(head, 0, &r, nil); n != len(head) || err != nil {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("net-http", func(b *testing.B) {
		head := bytes.NewReader([]byte(browserRequest))
		br := bufio.NewReader(head)
		b.SetBytes(head.Size())
		b.ReportAllocs()
		for b.Loop() {
			head.Seek(0, 0)
			br.Reset(head)
			if _, err := http.ReadRequest(br); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkParseResponse(b *testing.B) {
	b.Run("h1", func(b *testing.B) {
		head, get := []byte(jsonResponse), []byte("GET")
		var r message.Response
		b.SetBytes(int64(len(head)))
		b.ReportAllocs()
		for b.Loop() {
			if n, err := ParseResponse(head, 0, &r, get, nil); n != len(head) || err != nil {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("net-http", func(b *testing.B) {
		head := bytes.NewReader([]byte(jsonResponse))
		br := bufio.NewReader(head)
		b.SetBytes(head.Size())
		b.ReportAllocs()
		for b.Loop() {
			head.Seek(0, 0)
			br.Reset(head)
			if _, err := http.ReadResponse(br, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDropHopByHop(b *testing.B) {
	var r message.Request
	if _, err := ParseRequest([]byte(browserRequest), 0, &r, nil); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		message.DropHopByHop(r.Fields)
	}
}

func BenchmarkAppendRequest(b *testing.B) {
	var r message.Request
	if _, err := ParseRequest([]byte(browserRequest), 0, &r, nil); err != nil {
		b.Fatal(err)
	}
	message.DropHopByHop(r.Fields)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendRequest(dst[:0], &r)
	}
}

func BenchmarkAppendResponse(b *testing.B) {
	var r message.Response
	if _, err := ParseResponse([]byte(jsonResponse), 0, &r, []byte("GET"), nil); err != nil {
		b.Fatal(err)
	}
	message.DropHopByHop(r.Fields)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendResponse(dst[:0], &r, ResponseTo{Minor: 1})
	}
}

func BenchmarkDecoder(b *testing.B) {
	var stream []byte
	for range 16 {
		stream = AppendChunk(stream, make([]byte, 1024))
	}
	stream = AppendLastChunk(stream, nil)
	var d Decoder
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		d.Reset(message.Chunked, 0)
		for src := stream; !d.Done(); {
			_, n, err := d.Next(src)
			if err != nil || n == 0 {
				b.Fatal(n, err)
			}
			src = src[n:]
		}
	}
}
