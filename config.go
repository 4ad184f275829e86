package poise

import "github.com/poise-lb/poise/config"

// The configuration: see package config for every field, its default, and what its zero
// value means. The file and the Go structs are the same model; package configfile reads
// the file.
type (
	Config        = config.Config
	Listen        = config.Listen
	TLS           = config.TLS
	Certificate   = config.Certificate
	ClientAuth    = config.ClientAuth
	ProxyProtocol = config.ProxyProtocol
	Timeouts      = config.Timeouts
	Limits        = config.Limits
	Log           = config.Log
	AccessLog     = config.AccessLog
	LogFields     = config.LogFields
	LogSample     = config.LogSample
	Tracing       = config.Tracing
	OTLP          = config.OTLP
	RequestID     = config.RequestID
	SpanKind      = config.SpanKind
	Metrics       = config.Metrics
	Admin         = config.Admin
	AdminToken    = config.AdminToken

	StatusListener = config.StatusListener
	Service        = config.Service
	Endpoint       = config.Endpoint
	Source         = config.Source
	SourceKind     = config.SourceKind
	FileSource     = config.FileSource
	DNSSource      = config.DNSSource

	EtcdSource       = config.EtcdSource
	ConsulSource     = config.ConsulSource
	NacosSource      = config.NacosSource
	EurekaSource     = config.EurekaSource
	ZookeeperSource  = config.ZookeeperSource
	KubernetesSource = config.KubernetesSource
	SourcePart       = config.SourcePart
	SourceTLS        = config.SourceTLS
	Guard            = config.Guard
	Discover         = config.Discover

	Policy          = config.Policy
	Zones           = config.Zones
	Priorities      = config.Priorities
	Subset          = config.Subset
	Health          = config.Health
	Breaker         = config.Breaker
	Retry           = config.Retry
	Hedge           = config.Hedge
	Overload        = config.Overload
	Queue           = config.Queue
	EndpointLimit   = config.EndpointLimit
	RequestPriority = config.RequestPriority
	Outliers        = config.Outliers
	SlowStart       = config.SlowStart
	Connections     = config.Connections
	EndpointTLS     = config.EndpointTLS
	Route           = config.Route
	Split           = config.Split
	Share           = config.Share
	Lanes           = config.Lanes
	Sticky          = config.Sticky
	CORS            = config.CORS
	Match           = config.Match
	Rewrite         = config.Rewrite
	Replace         = config.Replace
	Headers         = config.Headers
	HeaderEdit      = config.HeaderEdit
)
