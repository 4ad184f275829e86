package route_test

import (
	"fmt"

	"github.com/poise-lb/poise/internal/route"
)

func Example() {
	tree, err := route.Build([]route.Pattern{
		{Path: "/users/**"},
		{Path: "/users/{id}", Methods: []string{"GET"}},
		{Host: "*.example.com", Path: "/admin/**", Methods: []string{"POST"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ask := func(method, host, raw string) {
		path, err := route.Normalize(nil, []byte(raw))
		if err != nil {
			fmt.Println(raw, "400:", err)
			return
		}
		switch i, state := tree.Match([]byte(host), path, []byte(method)); state {
		case route.Found:
			fmt.Println(raw, "route", i)
		case route.NotAllowed:
			fmt.Printf("%s 405, Allow: %s\n", raw, tree.Allowed(nil, []byte(host), path))
		case route.NotFound:
			fmt.Println(raw, "404")
		}
	}
	ask("GET", "localhost", "/users/7")
	ask("PUT", "localhost", "/users/7")
	ask("GET", "localhost", "/x/..//users")
	ask("GET", "api.example.com:8080", "/admin/keys")
	ask("GET", "localhost", "/admin/keys")
	ask("GET", "localhost", "/users/..%2fadmin")
	// Output:
	// /users/7 route 1
	// /users/7 route 0
	// /x/..//users route 0
	// /admin/keys 405, Allow: POST
	// /admin/keys 404
	// /users/..%2fadmin 400: path has .. beside an encoded slash (%2F) or a backslash
}
