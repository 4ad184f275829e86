package metric

// The families, in the order in which they are written. docs/metrics.md lists them; a test
// compares.
//
// Labels come from the configuration and from sources only: the names of routes and services, the
// addresses of endpoints, reasons, codes. Nothing that a client sends becomes a label, so clients
// cannot make series.

func family(scope Scope, kind Kind, name, unit, help string, labels ...string) Family {
	return Family{Name: "poise_" + name, Help: help, Kind: kind, Unit: unit, Labels: labels, Scope: scope}
}

// Requests, by route. The route of requests that found none is "", and so is their service.
var (
	Requests         = family(Route, Counter, "requests_total", "", "Requests that have ended, by the status that the client got; none: it got no response head.", "route", "service", "code")
	RequestDuration  = family(Route, Histogram, "request_duration_seconds", "seconds", "From the first byte of the request to the last byte of the response; without upgraded connections.", "route", "service")
	RequestsInFlight = family(Route, Gauge, "requests_in_flight", "", "Requests under way, upgraded connections included.", "route", "service")
	RequestBytes     = family(Route, Counter, "request_body_bytes_total", "bytes", "Content received from clients.", "route", "service")
	ResponseBytes    = family(Route, Counter, "response_body_bytes_total", "bytes", "Content sent to clients.", "route", "service")
	Failures         = family(Route, Counter, "failures_total", "", "Responses of Poise's own, and responses that were cut short, by reason.", "route", "service", "reason")
	Retries          = family(Route, Counter, "retries_total", "", "Attempts that failed and were followed by another, by the reason of the failure.", "route", "service", "reason")
	GRPCRequests     = family(Route, Counter, "grpc_requests_total", "", "Calls of gRPC that have ended, by the status that the client sees: OK, UNAVAILABLE ….", "route", "service", "code")
	RetriesRefused   = family(Route, Counter, "retries_refused_total", "", "Attempts that failed and were not followed by another, by what forbade it.", "route", "service", "cause")
)

// Services and their sources.
var (
	Endpoints       = family(Service, Gauge, "endpoints", "", "Endpoints, by state.", "service", "state")
	Panic           = family(Service, Gauge, "panic", "", "1: so few endpoints are usable that health is not believed.", "service")
	LastResort      = family(Service, Gauge, "last_resort", "", "1: no endpoint is sound, and ejected ones are tried.", "service")
	PlaceShare      = family(Service, Gauge, "place_share", "", "Part of the requests that goes to a place, by its priority and zone: 0 to 1. Only of services whose endpoints are of several places; an empty zone is all of them.", "service", "priority", "zone")
	ExtraAttempts   = family(Service, Counter, "extra_attempts_total", "", "Attempts beside the first of a request that took something from the budget of the service, by kind: retry or hedge.", "service", "kind")
	ExtraRefused    = family(Service, Counter, "extra_attempts_refused_total", "", "Extra attempts that were not made because the budget of the service was used up, by kind.", "service", "kind")
	ExtraShare      = family(Service, Gauge, "extra_attempts_share", "", "Extra attempts of the last 10 s by the requests of that time.", "service")
	Hedges          = family(Service, Counter, "hedges_total", "", "Hedges that have ended: the client got their response (won), that of the first attempt (lost), or neither (failed).", "service", "result")
	HedgesRefused   = family(Service, Counter, "hedges_refused_total", "", "Hedges that were due and not begun: the budget was used up, no other endpoint works (no-endpoint), or the content could not be sent again (content).", "service", "cause")
	HedgeDelay      = family(Service, Gauge, "hedge_delay_seconds", "seconds", "The percentile of the time to a response head after which a hedge is due; 0: not known yet, or not asked for.", "service")
	ShadowPicks     = family(Service, Counter, "shadow_picks_total", "", "Picks of the policy that were compared with those of the shadow, a policy that is asked without effect: the same endpoint (agreed), or another one (differed).", "service", "shadow", "result")
	ShadowWait      = family(Service, Counter, "shadow_predicted_wait_seconds_total", "seconds", "Waits that endpoints promised, added up: those that were picked (policy), and those that the shadow would have picked (shadow).", "service", "shadow", "by")
	LaneEndpoints   = family(Service, Gauge, "lane_endpoints", "", "Usable endpoints of a lane, by the value of its label; \"\": those without the label.", "service", "lane")
	LanesMissed     = family(Service, Counter, "lanes_missed_total", "", "Attempts that asked for a lane without a usable endpoint.", "service")
	StickyBindings  = family(Service, Counter, "sticky_bindings_total", "", "Clients that were bound to an endpoint by a cookie: they had none (new), their endpoint could not be used or failed (moved), or their cookie named no endpoint (unknown).", "service", "cause")
	LoadReports     = family(Service, Counter, "load_reports_total", "", "What endpoints said of their load in responses, by result: taken over, or refused because it could not be read.", "service", "result")
	InFlight        = family(Service, Gauge, "service_in_flight", "", "Attempts under way, of services with a bound of them.", "service")
	InFlightLimit   = family(Service, Gauge, "service_in_flight_limit", "", "overload.max_in_flight; 0: any number.", "service")
	Queued          = family(Service, Gauge, "queue_waiting", "", "Requests that wait for a place.", "service")
	QueueRoom       = family(Service, Gauge, "queue_length", "", "overload.queue: requests that may wait.", "service")
	QueueNewest     = family(Service, Gauge, "queue_flooded", "", "1: more comes than can be served, and the newest requests are served first.", "service")
	QueueEnded      = family(Service, Counter, "queue_requests_total", "", "Requests that found no place at once, by what became of them: they waited and were served, the queue was full, they made room for a higher priority (displaced), they waited for too long (timeout), their client left, or no endpoint was usable any more (no-endpoint).", "service", "result")
	QueueWait       = family(Service, Histogram, "queue_wait_seconds", "seconds", "How long requests that were served had waited for a place.", "service")
	SourceStale     = family(Service, Gauge, "source_stale_seconds", "seconds", "For how long the source could not be asked; 0: it can.", "service", "source")
	SourceHeld      = family(Service, Gauge, "source_held_endpoints", "", "Endpoints in use that the source does not name any more, because it left out too many at once.", "service", "source")
	SourceRejected  = family(Service, Gauge, "source_rejected_entries", "", "Entries of the source that are no usable endpoints.", "service", "source")
	SourceUpdates   = family(Service, Counter, "source_updates_total", "", "What the source has said: sets that were applied, sets of which removals were held, errors.", "service", "source", "result")
	MetricsOverflow = family(Service, Gauge, "metrics_overflow", "", "1: there are more endpoints than metrics.endpoints_max, and the rest is counted as _other.", "service")
)

// Endpoints of services.
var (
	EndpointAttempts    = family(Endpoint, Counter, "endpoint_attempts_total", "", "Attempts, by the class of the endpoint's status; none: no response head came.", "service", "endpoint", "class")
	EndpointFailures    = family(Endpoint, Counter, "endpoint_failures_total", "", "Attempts that failed by the endpoint's fault, by reason.", "service", "endpoint", "reason")
	EndpointResponse    = family(Endpoint, Histogram, "endpoint_response_seconds", "seconds", "From the start of an attempt to the head of its response.", "service", "endpoint")
	EndpointInFlight    = family(Endpoint, Gauge, "endpoint_in_flight", "", "Attempts under way.", "service", "endpoint")
	EndpointLimit       = family(Endpoint, Gauge, "endpoint_limit", "", "Attempts that may be under way, of endpoints with a limit.", "service", "endpoint")
	EndpointBase        = family(Endpoint, Gauge, "endpoint_base_latency_seconds", "seconds", "The latency of the endpoint with little to do, by which its limit is found (endpoint_max_in_flight: auto); 0: not known yet.", "service", "endpoint")
	EndpointWeight      = family(Endpoint, Gauge, "endpoint_weight", "", "Share relative to the other endpoints.", "service", "endpoint")
	EndpointUsable      = family(Endpoint, Gauge, "endpoint_usable", "", "1: it is picked for new requests.", "service", "endpoint")
	EndpointLatency     = family(Endpoint, Gauge, "endpoint_latency_estimate_seconds", "seconds", "The moving average that the policy peak_ewma goes by; 0: not measured lately.", "service", "endpoint")
	EndpointReported    = family(Endpoint, Gauge, "endpoint_reported_in_flight", "", "Requests in flight that the endpoint has reported, of all its clients.", "service", "endpoint")
	EndpointUtilization = family(Endpoint, Gauge, "endpoint_reported_utilization", "", "The part of its capacity that the endpoint has reported to be in use, 1: all.", "service", "endpoint")
	EndpointEjections   = family(Endpoint, Counter, "endpoint_ejections_total", "", "How often it was taken out of use, and by what.", "service", "endpoint", "by")
	EndpointConnections = family(Endpoint, Gauge, "endpoint_connections", "", "Open connections.", "service", "endpoint", "state")
	EndpointOpened      = family(Endpoint, Counter, "endpoint_connections_opened_total", "", "New connections that attempts used; the other attempts reused one.", "service", "endpoint")
	EndpointReplaced    = family(Endpoint, Counter, "endpoint_stale_reuses_total", "", "Idle connections that turned out to be dead when they were used, and were replaced.", "service", "endpoint")
	EndpointProbes      = family(Endpoint, Counter, "endpoint_probes_total", "", "Health checks, by result.", "service", "endpoint", "result")
	EndpointProbe       = family(Endpoint, Gauge, "endpoint_probe_seconds", "seconds", "How long the latest health check took.", "service", "endpoint")
)

// The process.
var (
	ClientConnections = family(Process, Gauge, "client_connections", "", "Connections of clients, of whatever protocol; active: a request is under way, or one of several; idle: none is.", "listener", "state")
	ClientsAccepted   = family(Process, Counter, "client_connections_accepted_total", "", "Connections of clients that were accepted.", "listener")
	ClientsRefused    = family(Process, Counter, "client_connections_refused_total", "", "Connections of clients that were closed at once (limit), or had to wait to be accepted: there were as many as there may be (full), or no descriptor was left (emfile).", "listener", "cause")
	Handshakes        = family(Process, Counter, "tls_handshakes_total", "", "TLS handshakes of clients, by result; failed: clients that leave before the end are among them; refused: by the client's certificate.", "listener", "result")
	UpstreamOpen      = family(Process, Gauge, "upstream_connections", "", "Connections to endpoints, idle ones included.")
	Overloads         = family(Process, Counter, "requests_refused_total", "", "Requests refused because limits.in_flight was reached.")
	Shortages         = family(Process, Counter, "upstream_shortages_total", "", "Connections to endpoints that were not made because the process had no descriptor left.")
	CertificateEnd    = family(Process, Gauge, "tls_certificate_not_after_timestamp_seconds", "seconds", "When the certificate in use expires.", "certificate")
	Reloads           = family(Process, Counter, "config_reloads_total", "", "Configurations, the first included, by result.", "result")
	ReloadSuccessful  = family(Process, Gauge, "config_last_reload_successful", "", "1: the latest configuration was applied; 0: it was refused, and the one before stays in force.")
	ReloadTime        = family(Process, Gauge, "config_last_reload_success_timestamp_seconds", "seconds", "When the configuration in force was applied.")
	Generation        = family(Process, Gauge, "config_generation", "", "Number of the configuration in force, from 1.")
	LogDropped        = family(Process, Counter, "log_lines_dropped_total", "", "Lines that were lost because they came faster than they could be written.", "log")
	SpansSent         = family(Process, Counter, "spans_sent_total", "", "Spans that the receiver took.")
	SpansDropped      = family(Process, Counter, "spans_dropped_total", "", "Spans that were lost: they came faster than they could be sent, or the receiver did not take them.")
	EventsDropped     = family(Process, Counter, "events_dropped_total", "", "Events that an observer was too slow for.")
	WorkerBusy        = family(Process, Counter, "worker_busy_seconds_total", "seconds", "Time that an event loop did not wait.", "worker")
	WorkerLag         = family(Process, Histogram, "worker_lag_seconds", "seconds", "How long an event waited at most until its event loop looked at it: the time between two looks.", "worker")
	WorkerConnections = family(Process, Gauge, "worker_connections", "", "Connections of clients that an event loop serves.", "worker")
	BuildInfo         = family(Process, Gauge, "build_info", "", "1.", "version", "goversion", "engine")
)

// Families lists all of them, in the order in which they are visited.
func Families() []*Family {
	return append([]*Family{
		&Requests, &RequestDuration, &RequestsInFlight, &RequestBytes, &ResponseBytes, &Failures, &Retries, &GRPCRequests, &RetriesRefused,
		&Endpoints, &Panic, &LastResort, &PlaceShare, &ExtraAttempts, &ExtraRefused, &ExtraShare, &Hedges, &HedgesRefused, &HedgeDelay, &ShadowPicks, &ShadowWait, &LoadReports, &LaneEndpoints, &LanesMissed, &StickyBindings,
		&InFlight, &InFlightLimit, &Queued, &QueueRoom, &QueueNewest, &QueueEnded, &QueueWait, &SourceStale, &SourceHeld, &SourceRejected, &SourceUpdates, &MetricsOverflow,
		&EndpointAttempts, &EndpointFailures, &EndpointResponse, &EndpointInFlight, &EndpointLimit, &EndpointBase, &EndpointWeight, &EndpointUsable,
		&EndpointLatency, &EndpointReported, &EndpointUtilization, &EndpointEjections, &EndpointConnections, &EndpointOpened, &EndpointReplaced, &EndpointProbes, &EndpointProbe,
		&ClientConnections, &ClientsAccepted, &ClientsRefused, &Handshakes, &UpstreamOpen, &Overloads, &Shortages, &CertificateEnd,
		&Reloads, &ReloadSuccessful, &ReloadTime, &Generation, &LogDropped, &SpansSent, &SpansDropped, &EventsDropped, &WorkerBusy, &WorkerLag, &WorkerConnections, &BuildInfo,
	}, runtimeFamilies()...)
}
