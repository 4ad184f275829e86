module github.com/poise-lb/poise/cmd/poise

go 1.26.0

require github.com/poise-lb/poise v0.0.0
