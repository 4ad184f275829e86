package scrape

import (
	"runtime"
	"strconv"

	"github.com/poise-lb/poise/metric"
)

// process visits the families of the process.
func (s *scrape) process() {
	one := func(f *metric.Family, v float64) {
		s.visitor.Family(f)
		s.value(v, 0)
	}
	c := s.core.Admission().Counts()
	one(&metric.ClientConnections, float64(c.Clients))
	s.visitor.Family(&metric.ClientsRefused)
	s.value(float64(c.Refused), 0, "limit")
	s.value(float64(c.Waits), 0, "full")
	one(&metric.UpstreamOpen, float64(c.Endpoints))
	one(&metric.Overloads, float64(c.Overloads))
	one(&metric.Shortages, float64(c.Shortages))
	s.visitor.Family(&metric.CertificateEnd)
	for _, cert := range s.about.Certificates {
		s.value(float64(cert.Ends.Unix()), 0, cert.Name)
	}
	s.reloads()
	s.visitor.Family(&metric.LogDropped)
	s.value(float64(s.about.AccessLogLost), 0, "access")
	s.value(float64(s.about.LogLost), 0, "proxy")
	one(&metric.EventsDropped, float64(s.core.EventsLost()))
	s.visitor.Family(&metric.WorkerBusy)
	for _, w := range s.about.Workers {
		s.value(w.Busy.Seconds(), 0, strconv.Itoa(w.Number))
	}
	s.visitor.Family(&metric.WorkerLag)
	for i := range s.about.Workers {
		w := &s.about.Workers[i]
		s.histogram(&w.Lag, 0, strconv.Itoa(w.Number))
	}
	s.visitor.Family(&metric.BuildInfo)
	s.value(1, 0, s.about.Version, runtime.Version(), s.about.Engine)
}

// reloads visits the families of the configuration.
func (s *scrape) reloads() {
	r := s.core.Reloads()
	s.visitor.Family(&metric.Reloads)
	s.value(float64(r.Generation), 0, "applied")
	s.value(float64(r.Refused), 0, "refused")
	s.visitor.Family(&metric.ReloadSuccessful)
	s.value(flag(r.Refusal == nil), 0)
	s.visitor.Family(&metric.ReloadTime)
	s.value(float64(s.at(r.At).UnixMilli())/1000, 0)
	s.visitor.Family(&metric.Generation)
	s.value(float64(r.Generation), 0)
}
