// Program reverseproxy is what the others are measured against. It logs by log/slog, as
// they do.
package main

import (
	"log"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
)

func main() {
	to, err := url.Parse("http://127.0.0.1:9001")
	if err != nil {
		log.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ErrorLog = slog.NewLogLogger(slog.Default().Handler(), slog.LevelError)
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", proxy))
}
