module github.com/poise-lb/poise

go 1.26
