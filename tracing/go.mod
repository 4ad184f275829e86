module github.com/poise-lb/poise/tracing

go 1.26.0

// github.com/poise-lb/poise itself comes from the workspace (../go.work), as in cmd/poise.

require (
	go.opentelemetry.io/proto/slim/otlp v1.11.1
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/fsnotify/fsnotify v1.10.1 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
)
