package bicep

import (
	"fmt"
	"slices"
)

// permitted holds a parameter's value against its decorators: what is allowed, how long, how great. A value that only
// Azure knows has no length.
func (s *scope) permitted(d Decl, v any) error {
	if args := d.Decorators["allowed"]; len(args) == 1 {
		list, err := s.eval(args[0])
		if err != nil {
			return err
		}
		if l, ok := list.([]any); !ok || !slices.Contains(l, v) {
			return fmt.Errorf("%v is not among the allowed values %v", v, list)
		}
	}
	size := map[string]int64{}
	switch v := v.(type) {
	case string:
		size["Length"] = int64(len(v))
	case []any:
		size["Length"] = int64(len(v))
	case int64:
		size["Value"] = v
	}
	for what, n := range size {
		for _, end := range []string{"min", "max"} {
			args := d.Decorators[end+what]
			if len(args) != 1 {
				continue
			}
			limit, err := s.eval(args[0])
			if err != nil {
				return err
			}
			if l, ok := limit.(int64); !ok || end == "min" && n < l || end == "max" && n > l {
				return fmt.Errorf("%v: %s%s is %v", v, end, what, limit)
			}
		}
	}
	return nil
}
