// Command loadreport is a service that says in each response how busy it is, so that proxies with
// load_reports know what the others have sent to it. The middleware is Reporter.Handler: take it into
// your own service as it is.
//
//	go run ./examples/loadreport -listen 127.0.0.1:9001
//	curl -i http://127.0.0.1:9001/
//	Endpoint-Load-Metrics: TEXT cpu_utilization=0.02,named_metrics.in_flight=1,named_metrics.latency_ms=0.0
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9001", "address to listen on")
	takes := flag.Duration("takes", 5*time.Millisecond, "how long a response takes")
	flag.Parse()
	var r Reporter
	answer := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		time.Sleep(*takes)
		io.WriteString(w, "served by "+*listen+"\n")
	})
	fmt.Println("listening on http://" + *listen)
	log.Fatal(http.ListenAndServe(*listen, r.Handler(answer)))
}
