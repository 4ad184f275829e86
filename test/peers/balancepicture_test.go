//go:build linux

package peers

import (
	"fmt"
	"math"
	"strings"

	"github.com/poise-lb/poise/test/internal/queues"
)

// balancePicture draws a panel for each row, with p99 as a bar for each proxy and p99.9 as a mark.
// The axis is logarithmic, as a stall is a hundred times an answer in time.
func balancePicture(all balance, able []balancer) string {
	var b strings.Builder
	const left = 160 // where names end
	shown, y, height := 0, margin, 0
	for _, row := range queues.Rows {
		outcome := all[row.Name]
		if outcome == nil {
			continue
		}
		x := margin + shown%2*panelWidth
		if shown%2 == 0 {
			y += height
		}
		shown++
		height = max(height*((shown+1)%2), headHeight+len(outcome)*barStep+8)
		fmt.Fprintf(&b, `<text class="title" x="%d" y="%d">%s</text><text class="unit" x="%d" y="%d">p99, and p99.9 as a mark, ms; less is better</text>`+"\n", x, y+16, row.Name, x, y+33)
		at := y + headHeight - 12 - barStep
		for i, one := range able {
			p := outcome[one.name]
			if p == nil || p.rounds == 0 {
				continue
			}
			class := "peer"
			if one.ours() {
				class = "slow"
			}
			if i == 0 {
				class = "poise"
			}
			at += barStep
			to, tail := logBar(millisecond(p.P99)), logBar(millisecond(p.P999))
			fmt.Fprintf(&b, `<text class="name" x="%d" y="%d" text-anchor="end">%s</text><rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/><rect class="%s" x="%.1f" y="%d" width="2" height="%d"/><text class="value" x="%.1f" y="%d">%.0f · %.0f</text>`+"\n",
				x+left-8, at+11, one.name, class, x+left, at, to, barHeight, class, left+float64(x)+tail, at-1, barHeight+2,
				left+float64(x)+max(to, tail)+7, at+11, millisecond(p.P99), millisecond(p.P999))
		}
	}
	y += height
	width := 2*panelWidth + margin
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="p99 of Poise and other proxies by situation: less is better">`+"\n%s",
		width, y, width, y, style) + fmt.Sprintf("<rect class=\"ground\" width=\"%d\" height=\"%d\" rx=\"6\"/>\n", width, y) + b.String() + "</svg>\n"
}

// logBar is the length of a bar for so many milliseconds: 5 ms has none, 5 s all of it.
func logBar(ms float64) float64 {
	const most = 190
	return max(2, min(most, most*math.Log(max(ms, 5)/5)/math.Log(1000)))
}
