// Package size measures what programs link: how large one with a static list is beside one
// of httputil.ReverseProxy, and that a registry which a program does not name is not in it.
// See docs/decisions/0016-a-program-links-what-it-names.md. It has tests only.
package size
