package mailbox

import (
	"fmt"
	"slices"
	"strings"
)

// Pair is a source folder and what it becomes on the target.
type Pair struct {
	Source Folder
	Target Folder   // ID is "" when the target has no such folder yet
	Path   []string // names from the top, for people
	Names  []string // the names that it may have on the target, the best first; no other folder of its parent may have them
}

// Pairs finds the target folder of every source folder: a well-known folder is paired with the well-known folder of
// that name, whatever either is called in its language; any other with the folder of the same name, whatever its
// case, below its parent's partner. Parents come before children, as in source.
//
// A user's folder whose name is taken on the target by a well-known folder or one of another kind pairs with nothing and
// is made under the first of its [Pair.Names] that is free.
func Pairs(source, target []Folder) []Pair {
	known := map[string]Folder{}
	named := map[FolderID]map[string]Folder{}
	ids := idsOf(target)
	for _, f := range target {
		if f.Known != "" {
			known[f.Known] = f
		}
		parent := f.Parent
		if !ids[parent] {
			parent = ""
		}
		if named[parent] == nil {
			named[parent] = map[string]Folder{}
		}
		named[parent][nameKey(f.Name)] = f
	}
	pairs := make([]Pair, 0, len(source))
	at := map[FolderID]int{}
	names := namesOf(source)
	for _, f := range source {
		p := Pair{Source: f, Path: []string{f.Name}, Names: names.of(f)}
		var parent FolderID
		orphan := false
		if i, ok := at[f.Parent]; ok {
			p.Path = append(append([]string{}, pairs[i].Path...), f.Name)
			parent, orphan = pairs[i].Target.ID, pairs[i].Target.ID == ""
		}
		switch t, ok := known[f.Known]; {
		case f.Known != "" && ok:
			p.Target = t
		case !orphan:
			p.Target = partner(p, named[parent])
		}
		at[f.ID] = len(pairs)
		pairs = append(pairs, p)
	}
	return pairs
}

func idsOf(folders []Folder) map[FolderID]bool {
	ids := map[FolderID]bool{}
	for _, f := range folders {
		ids[f.ID] = true
	}
	return ids
}

// names says which folder of a source may have which name on the target.
type names struct {
	ids  map[FolderID]bool                // of the source's folders; what has another parent is at the top
	held map[FolderID]map[string]FolderID // by parent and name
}

func namesOf(source []Folder) names {
	n := names{idsOf(source), map[FolderID]map[string]FolderID{}}
	for _, f := range source {
		n.take(f, f.Name)
	}
	return n
}

// take gives a name to a folder, unless another of its parent has it.
func (n names) take(f Folder, name string) bool {
	parent := f.Parent
	if !n.ids[parent] {
		parent = ""
	}
	if n.held[parent] == nil {
		n.held[parent] = map[string]FolderID{}
	}
	holder, held := n.held[parent][nameKey(name)]
	if !held {
		n.held[parent][nameKey(name)] = f.ID
	}
	return !held || holder == f.ID
}

// of lists the names that a folder may have: its own, and those for when that is taken or refused. The last are names
// that no target refuses.
func (n names) of(f Folder) []string {
	safe := SafeName(f.Name)
	var out []string
	for _, name := range []string{f.Name, FreeName(f.Name), safe} {
		if n.take(f, name) && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	r := []rune(safe)
	for i := 2; len(out) < 5; i++ {
		if name := fmt.Sprintf("%s (%d)", strings.TrimSpace(string(r[:min(len(r), 190)])), i); n.take(f, name) {
			out = append(out, name)
		}
	}
	return out
}

// partner is the folder of p's source among its siblings on the target. Its content must be of the same kind: mail in a
// calendar would be hidden from its owner.
func partner(p Pair, siblings map[string]Folder) Folder {
	for _, name := range p.Names {
		if t, ok := siblings[nameKey(name)]; ok && SameKind(p.Source, t) {
			return t
		}
	}
	return Folder{}
}

// FreeName is the name a folder gets when its own is taken on the target by a folder of another kind.
func FreeName(name string) string { return name + " (moved)" }

// SameKind says whether items of folder a belong into folder b.
func SameKind(a, b Folder) bool {
	return b.Known == "" && strings.EqualFold(kind(a.Class), kind(b.Class)) || b.Known != "" && b.Known == a.Known
}

func kind(class string) string {
	if class == "" {
		return "IPF.Note"
	}
	parts := strings.SplitN(class, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

func nameKey(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// SafeName is the name a folder gets when the target refuses its own: without control characters, slashes and
// backslashes, trimmed, at most 200 characters long, never empty.
func SafeName(name string) string {
	safe := strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F || strings.ContainsRune(`/\`, r) {
			return '_'
		}
		return r
	}, name))
	if r := []rune(safe); len(r) > 200 {
		safe = strings.TrimSpace(string(r[:200]))
	}
	if strings.Trim(safe, "_ ") == "" {
		safe = "(no name)"
	}
	return safe
}
