package exchange

// What Explain says of a split. It chooses as choose does, but where each request is drawn by itself
// it has no draw: the variant with the largest share stands for all.

// A SplitExplained is the choice among the variants of a split.
type SplitExplained struct {
	Value    []byte // of the key; nil: the request has none, or the split has no key
	Chosen   int    // index of the variant
	Stuck    bool   // the client is bound to it by its cookie
	Home     int    // index of the one that has the key, usable or not; -1: there is no key
	Variants []VariantExplained
}

// A VariantExplained is one variant.
type VariantExplained struct {
	Service *Service
	Share   float64 // by weight, from 0 to 1
	Serves  bool    // it has usable endpoints
}

// explainSplit is choose without its effects; nil: the route has no split.
func (x *Exchange) explainSplit(clientIP []byte) *SplitExplained {
	s := x.route.Split
	if s == nil {
		return nil
	}
	out := &SplitExplained{Home: -1}
	for i := range s.Variants {
		out.Variants = append(out.Variants, VariantExplained{s.Variants[i].Service, s.Shares.Of(i), s.serves(i)})
	}
	key, value, ok := s.key(x, clientIP)
	if ok {
		out.Value, out.Home, out.Chosen = value, s.Shares.Pick(key, nil), s.pick(key)
		return out
	}
	if i := s.stuck(&x.Request); i >= 0 {
		out.Chosen, out.Stuck = i, true
		return out
	}
	best := -1.0
	for i, v := range out.Variants {
		rank := v.Share
		if v.Serves || s.Strict {
			rank++ // those that serve come before the others
		}
		if v.Share > 0 && rank > best {
			out.Chosen, best = i, rank
		}
	}
	return out
}
