// Package nearest finds the valid word that was most likely meant, for the "did you
// mean" of error messages.
package nearest

import "strings"

// Word returns the word of valid that is nearest to got, or "" if none is near enough to
// be worth suggesting. Case and the separators - _ . and space do not count; otherwise a
// word is near if it takes at most one edit for every three letters of the longer of the
// two (an edit inserts, deletes or replaces a letter, or swaps two neighbours), or if got
// is an abbreviation of it: its beginning, at least three letters long, and of no other
// valid word. Of words equally near the first one wins. Word is for error paths: it
// allocates. It may be called from any goroutine.
func Word(got string, valid []string) string {
	g := fold(got)
	if len(g) == 0 {
		return ""
	}
	best, bestDistance := "", 0
	for _, v := range valid {
		w := fold(v)
		d := distance(g, w)
		if d > max(1, max(len(g), len(w))/3) || d >= max(len(g), len(w)) {
			continue
		}
		if best == "" || d < bestDistance {
			best, bestDistance = v, d
		}
	}
	if best == "" {
		return abbreviated(g, valid)
	}
	return best
}

// abbreviated returns the only word of valid that begins with g.
func abbreviated(g []rune, valid []string) string {
	if len(g) < 3 {
		return ""
	}
	found := ""
	for _, v := range valid {
		if !strings.HasPrefix(string(fold(v)), string(g)) {
			continue
		}
		if found != "" && found != v {
			return "" // ambiguous: a guess would mislead
		}
		found = v
	}
	return found
}

// fold takes out what people get wrong without thinking: case and separators.
func fold(s string) []rune {
	out := make([]rune, 0, len(s))
	for _, r := range strings.ToLower(s) {
		if !strings.ContainsRune("-_. ", r) {
			out = append(out, r)
		}
	}
	return out
}

// distance is the Damerau-Levenshtein distance in its restricted form (optimal string
// alignment): no part is edited twice. Three rows are enough, because a swap looks back
// two rows.
func distance(a, b []rune) int {
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
