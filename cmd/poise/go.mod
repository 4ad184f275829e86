module github.com/poise-lb/poise/cmd/poise

go 1.26.0

// github.com/poise-lb/poise itself comes from the workspace (../../go.work). It is
// required here by version from its first release on: a version that no proxy knows
// would fail every build that has other requirements.

require (
	github.com/fsnotify/fsnotify v1.10.1
	github.com/spf13/cobra v1.10.2
	golang.org/x/sys v0.50.0
	golang.org/x/term v0.48.0
)

require (
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
)
