// Package observe has Prometheus itself scrape Poise: metrics pass its checks, the alert rules of
// deploy/prometheus load, fire and clear, and every query of the Grafana board gets an answer.
package observe
