package configfile

// What the decoder asks of a YAML node, whatever it is written like: anchors and aliases,
// merge keys, scalars and their kinds, and the name of a kind for a message.

import (
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/poise-lb/poise/config"
)

// An entry is one key of a mapping with its value.
type entry struct {
	key   string
	place place // of the key
	value ast.Node
}

// collectAnchors finds what aliases refer to, wherever it is.
func (d *decoder) collectAnchors(root ast.Node) {
	d.anchors = make(map[string]ast.Node)
	ast.Walk(anchorVisitor{d}, root)
}

type anchorVisitor struct{ d *decoder }

func (v anchorVisitor) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok && a.Name != nil && a.Value != nil {
		name := a.Name.GetToken().Value
		if _, twice := v.d.anchors[name]; twice {
			v.d.fail("", placeOf(a), "the anchor &%s is there twice", name)
		}
		v.d.anchors[name] = a.Value
	}
	return v
}

// plain follows anchors and aliases to a node of another kind, and refuses tags.
func (d *decoder) plain(node ast.Node, path string) (ast.Node, bool) {
	first := node
	for range depthMax {
		switch n := node.(type) {
		case *ast.AnchorNode:
			node = n.Value
		case *ast.AliasNode:
			name := n.Value.GetToken().Value
			target, ok := d.anchors[name]
			if !ok || placeOf(n).before(placeOf(target)) {
				d.fail(path, placeOf(n), "there is no anchor &%s before this alias", name)
				return nil, false
			}
			node = target
		case *ast.TagNode:
			d.fail(path, placeOf(n), "tags such as %s are not supported: leave it out", n.GetToken().Value)
			return nil, false
		case nil:
			d.fail(path, placeOf(first), "no value is given: leave it out for the default")
			return nil, false
		default:
			return node, true
		}
	}
	d.fail(path, placeOf(first), "aliases lead in a circle")
	return nil, false
}

func (p place) before(o place) bool {
	return p.line < o.line || p.line == o.line && p.column < o.column
}

// entries returns the keys of a mapping, those merged by << last, and whether it is one.
func (d *decoder) entries(node ast.Node, path string) ([]entry, bool) {
	return d.entriesOf(node, path, 0)
}

func (d *decoder) entriesOf(node ast.Node, path string, depth int) ([]entry, bool) {
	var pairs []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	default:
		return nil, false
	}
	var out []entry
	var merges []ast.Node
	seen := make(map[string]place)
	for _, p := range pairs {
		if _, merge := p.Key.(*ast.MergeKeyNode); merge {
			merges = append(merges, p.Value)
			continue
		}
		at := placeOf(p.Key)
		key, ok := scalarOf(p.Key)
		if !ok {
			d.fail(path, at, "a key must be plain text")
			continue
		}
		if first, twice := seen[key.text]; twice {
			d.fail(config.Key(path, key.text), at, "is there twice, the first time in line %d", first.line)
			continue
		}
		seen[key.text] = at
		out = append(out, entry{key.text, at, p.Value})
	}
	for _, m := range merges {
		for _, e := range d.merged(m, path, depth+1) {
			if _, own := seen[e.key]; !own {
				seen[e.key] = e.place
				out = append(out, e)
			}
		}
	}
	return out, true
}

// merged returns the entries that << brings in: of one mapping or of a list of them.
func (d *decoder) merged(node ast.Node, path string, depth int) []entry {
	at := placeOf(node)
	if d.merges > mergesMax {
		return nil // said already
	}
	d.merges++
	node, ok := d.plain(node, path)
	switch {
	case !ok:
		return nil
	case depth > depthMax:
		d.fail(path, at, "merge keys lead in a circle")
		d.merges = mergesMax + 1
		return nil
	case d.merges > mergesMax:
		d.fail(path, at, "the file merges more than %d mappings", mergesMax)
		return nil
	}
	if list, ok := node.(*ast.SequenceNode); ok {
		var out []entry
		for _, item := range list.Values {
			out = append(out, d.merged(item, path, depth+1)...)
		}
		return out
	}
	out, ok := d.entriesOf(node, path, depth)
	if !ok {
		d.fail(path, at, "<< needs a mapping, not %s", kindOf(node))
	}
	return out
}

// A scalar is a plain value as it was written.
type scalar struct {
	text     string
	quoted   bool
	replaced bool // something was put in by ${}
}

func scalarOf(node ast.Node) (scalar, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		quoted := n.Token.Type == token.SingleQuoteType || n.Token.Type == token.DoubleQuoteType
		return scalar{text: n.Value, quoted: quoted}, true
	case *ast.LiteralNode:
		return scalar{text: n.Value.Value, quoted: true}, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return scalar{text: n.GetToken().Value}, true
	case *ast.MappingKeyNode:
		if n.Value != nil {
			return scalarOf(n.Value)
		}
	}
	return scalar{}, false
}

func isNull(node ast.Node) bool {
	_, ok := node.(*ast.NullNode)
	return ok
}

func kindOf(node ast.Node) string {
	switch node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	}
	if s, ok := scalarOf(node); ok {
		return "the value " + abbreviate(s.text)
	}
	return "this"
}

func abbreviate(text string) string {
	if r := []rune(text); len(r) > 40 {
		text = string(r[:40]) + "…"
	}
	return text
}
