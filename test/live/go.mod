module github.com/poise-lb/poise/test/live

go 1.26.0

// github.com/poise-lb/poise itself comes from the workspace (../../go.work), as for
// cmd/poise.
