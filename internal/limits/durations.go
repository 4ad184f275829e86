package limits

import "time"

// DurationBounds are the bounds of the buckets in which durations are counted. They are decimal,
// because operators set alerts at round numbers, and finer below 5 ms than what OpenTelemetry
// advises, because a proxy in front of services that answer in 0.4 ms would see nothing
// otherwise. A configuration shows some of them.
var DurationBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 75 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, 750 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 7500 * time.Millisecond,
	10 * time.Second, 30 * time.Second, 60 * time.Second,
}
