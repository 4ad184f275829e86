package simulate

// A page as text and as JSON.

import (
	"fmt"
	"io"
)

// WriteText writes the notes and all tables.
func (p *Page) WriteText(w io.Writer) error {
	for _, note := range p.Notes {
		if _, err := fmt.Fprintf(w, "note: %s\n", note); err != nil {
			return err
		}
	}
	if len(p.Notes) > 0 {
		fmt.Fprintln(w)
	}
	for i, c := range p.Comparisons {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := c.WriteText(w); err != nil {
			return err
		}
	}
	if len(p.Losses) > 0 {
		fmt.Fprintln(w)
		if err := WriteLosses(w, p.LossesOf, p.Losses); err != nil {
			return err
		}
	}
	return nil
}

// Result is a page for JSON.
type Result struct {
	Notes     []string         `json:"notes,omitempty"`
	Scenarios []ResultScenario `json:"scenarios"`
	Losses    []ResultLoss     `json:"losses,omitempty"`
}

// A ResultScenario is a comparison for JSON.
type ResultScenario struct {
	Name     string `json:"name"`
	About    string `json:"about,omitempty"`
	Setup    string `json:"setup"`
	Policies []Row  `json:"policies"`
}

// A ResultLoss is a loss for JSON.
type ResultLoss struct {
	Dies string  `json:"dies"`
	Left float64 `json:"load_of_the_others"` // 1 is all that they can do
	Row
}

// JSON is the page without its pictures.
func (p *Page) JSON() Result {
	out := Result{Notes: p.Notes}
	for _, c := range p.Comparisons {
		out.Scenarios = append(out.Scenarios, ResultScenario{c.Scenario.Name, c.Scenario.About, c.Setup, c.Rows()})
	}
	for _, l := range p.Losses {
		out.Losses = append(out.Losses, ResultLoss{l.What, round(l.Left), l.Report.Row()})
	}
	return out
}
