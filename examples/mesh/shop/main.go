// Command shop is a service of the example: it sells by asking the service orders. It speaks plain
// HTTP to the sidecar beside it and knows nothing of certificates or registries.
//
//	curl http://127.0.0.1:7100/buy/tea
package main

import (
	"cmp"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

func main() {
	mesh := cmp.Or(os.Getenv("MESH"), "http://127.0.0.1:7102") // outbound, of the sidecar
	client := &http.Client{Timeout: 10 * time.Second}
	http.HandleFunc("GET /buy/{item}", func(w http.ResponseWriter, r *http.Request) {
		answer, err := client.Post(mesh+"/orders/order/"+r.PathValue("item"), "text/plain", nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		w.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
		w.WriteHeader(answer.StatusCode)
		io.Copy(w, answer.Body)
	})
	http.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	log.Fatal(http.ListenAndServe(cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:7101"), nil))
}
