package graphtest

import "strings"

const maxExpanded = 100 // properties named in one $expand

// parseExpand reads "singleValueExtendedProperties($filter=id eq '…' or id eq '…')" and its multi-value sister,
// separated by commas.
func (q *query) parseExpand(v string) error {
	if len(v) > maxExpression {
		return expandError("longer than %d characters.", maxExpression)
	}
	parts, err := splitOutside(v, ',')
	if err != nil {
		return err
	}
	for _, part := range parts {
		if err := q.expandOne(strings.TrimSpace(part)); err != nil {
			return err
		}
	}
	q.expands = true
	return nil
}

func (q *query) expandOne(part string) error {
	name, rest, ok := strings.Cut(part, "(")
	name = strings.TrimSpace(name)
	single := strings.EqualFold(name, singleValued)
	if !single && !strings.EqualFold(name, multiValued) {
		return expandError("Could not find a property named '%s'.", printable(name))
	}
	if !ok {
		return expandError("'%s' needs a $filter on id.", name)
	}
	body, ok := strings.CutSuffix(rest, ")")
	if !ok {
		return expandError("Found an unbalanced bracket expression.")
	}
	option, expr, ok := strings.Cut(body, "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(option), optFilter) {
		return expandError("'%s' takes a $filter on id and nothing else.", name)
	}
	n, err := parseFilter(expr)
	if err != nil {
		return err
	}
	return q.expandFilter(n, single)
}

// expandFilter collects the ids of "id eq '…' or …".
func (q *query) expandFilter(n *node, single bool) error {
	if n.op == "or" {
		for _, k := range n.kids {
			if err := q.expandFilter(k, single); err != nil {
				return err
			}
		}
		return nil
	}
	s, ok := n.value.(string)
	if n.op != "eq" || lastPart(n.path) != "id" || !ok || strings.Count(n.path, "/") > 1 {
		return expandError("extended properties are chosen by id eq '…' and or.")
	}
	id, err := parsePropID(s)
	if err != nil {
		return err
	}
	if id.multi == single {
		return expandError("the property type of '%s' does not suit the collection.", printable(s))
	}
	if len(q.single)+len(q.multi) >= maxExpanded {
		return expandError("more than %d properties.", maxExpanded)
	}
	if single {
		q.single = append(q.single, id)
	} else {
		q.multi = append(q.multi, id)
	}
	return nil
}

func expandError(format string, a ...any) error {
	return badRequest("Parsing OData Select and Expand failed: "+format, a...)
}

// splitOutside splits at sep where it stands outside parentheses and quotes.
func splitOutside(s string, sep byte) ([]string, error) {
	var out []string
	depth, from, quoted := 0, 0, false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\'':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == sep && depth == 0:
			out = append(out, s[from:i])
			from = i + 1
		}
		if depth < 0 {
			break
		}
	}
	if depth != 0 || quoted {
		return nil, expandError("Found an unbalanced bracket expression.")
	}
	return append(out, s[from:]), nil
}
