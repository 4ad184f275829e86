// Program static has a static list of endpoints and nothing else.
package main

import (
	"log"
	"net/http"

	"github.com/poise-lb/poise"
)

func main() {
	proxy, err := poise.New(poise.Config{
		Services: map[string]poise.Service{"users": {Endpoints: []poise.Endpoint{{URL: "http://127.0.0.1:9001"}}}},
		Routes:   []poise.Route{{Service: "users"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", proxy))
}
