package scrape

import (
	"runtime"
	"strconv"

	"github.com/poise-lb/poise/internal/admission"
	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/metric"
)

// process visits the families of the process.
func (s *scrape) process() {
	one := func(f *metric.Family, v float64) {
		s.visitor.Family(f)
		s.value(v, 0)
	}
	c := s.core.Admission().Counts()
	s.listeners()
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
	one(&metric.SpansSent, float64(s.about.SpansSent))
	one(&metric.SpansDropped, float64(s.about.SpansLost))
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
	s.visitor.Family(&metric.WorkerConnections)
	for _, w := range s.about.Workers {
		s.value(float64(w.Clients), 0, strconv.Itoa(w.Number))
	}
	s.visitor.Family(&metric.BuildInfo)
	s.value(1, 0, s.about.Version, runtime.Version(), s.about.Engine)
}

// listeners visits the families of listeners. Only those with TLS have handshakes.
func (s *scrape) listeners() {
	all := s.core.Listeners(s.about.Now)
	each := func(f *metric.Family, visit func(l *core.ListenerCounts)) {
		s.visitor.Family(f)
		for i := range all {
			visit(&all[i])
		}
	}
	each(&metric.ClientConnections, func(l *core.ListenerCounts) {
		s.value(float64(l.Active), 0, l.Name, "active")
		s.value(float64(l.Open-l.Active), 0, l.Name, "idle")
	})
	each(&metric.ClientsAccepted, func(l *core.ListenerCounts) { s.value(float64(l.Accepted), l.Since, l.Name) })
	each(&metric.ClientsRefused, func(l *core.ListenerCounts) {
		for i, n := range l.Refused {
			s.value(float64(n), l.Since, l.Name, admission.Refusal(i).String())
		}
	})
	each(&metric.Handshakes, func(l *core.ListenerCounts) {
		if !l.Secure {
			return
		}
		for i, n := range l.Handshakes {
			s.value(float64(n), l.Since, l.Name, admission.Handshake(i).String())
		}
	})
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
