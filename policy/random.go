package policy

import "github.com/poise-lb/poise/endpoint"

// Random picks by chance alone: each endpoint with a probability in proportion to its
// weight. A pick costs the same however many endpoints there are.
func Random() Policy { return random{} }

type random struct{}

type randomPicker struct{ wheel }

func (random) Build(_, usable []*endpoint.Endpoint, prev Picker) Picker {
	if p, ok := prev.(*randomPicker); ok && p.same(usable) {
		return p
	}
	return &randomPicker{newWheel(usable)}
}

func (p *randomPicker) Pick(a *Attempt) *endpoint.Endpoint {
	return p.draw(a.Rand, &a.Tried, nil)
}
