// Program consul has the endpoints of one registry.
package main

import (
	"log"
	"net/http"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/sources"
)

func main() {
	proxy, err := poise.New(poise.Config{
		Sources:  []poise.SourceKind{sources.Consul()},
		Services: map[string]poise.Service{"users": {Source: &poise.Source{Consul: &poise.ConsulSource{Service: "users"}}}},
		Routes:   []poise.Route{{Service: "users"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", proxy))
}
