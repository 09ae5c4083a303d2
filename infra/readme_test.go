package infra_test

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Whoever gets an alert finds its name in the runbook.
func TestRunbookNamesEveryAlert(t *testing.T) {
	t.Parallel()
	s, err := open(repository(t))
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"Microsoft.Insights/scheduledQueryRules", "Microsoft.Insights/metricAlerts"} {
		for _, r := range s.deployed["trial"].Of(kind) {
			name := path.Base(r.Name)[strings.LastIndex(r.Name, "-")+1:]
			if !strings.Contains(string(readme), "**"+name+"**") {
				t.Errorf("README.md does not say what to do about the alert %s", name)
			}
		}
	}
}

// Each role that is assigned and each parameter that the text names is there.
func TestRunbookIsTrue(t *testing.T) {
	t.Parallel()
	s, err := open(repository(t))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(b)
	for role := range needs {
		if !strings.Contains(readme, "| "+role+" |") {
			t.Errorf("README.md does not explain the role %s", role)
		}
	}
	for _, kind := range []string{containerType, tableType} {
		for _, name := range names(s.deployed["trial"], kind) {
			if !strings.Contains(readme, "`"+name+"`") {
				t.Errorf("README.md does not say what is in %s", name)
			}
		}
	}
	var params []string
	for _, d := range s.deployed["trial"].Files[0].Decls {
		if d.Word == "param" {
			params = append(params, d.Name)
		}
	}
	for _, name := range []string{"stagingDays", "manifestDays", "logDays", "operatorsGroupId", "signInClientId", "allowedAddresses",
		"maximumInstances", "ewsConcurrency", "updateStrategy", "purgeProtection", "ewsAddress", "fixedAddress"} {
		if !slices.Contains(params, name) || !strings.Contains(readme, "`"+name) {
			t.Errorf("parameter %s is not in both main.bicep and README.md", name)
		}
	}
}

// The app roles of the registration are those that the handler asks for.
func TestAppRoles(t *testing.T) {
	t.Parallel()
	var registered []struct{ Value string }
	files := repository(t)
	if err := readJSON(files, "infra/approles.json", &registered); err != nil {
		t.Fatal(err)
	}
	asked := regexp.MustCompile(`role(?:Reader|Operator)\s+= "(\w+)"`).FindAllStringSubmatch(string(files["functions/auth.go"].Data), -1)
	var left, right []string
	for _, r := range registered {
		left = append(left, r.Value)
	}
	for _, m := range asked {
		right = append(right, m[1])
	}
	var f findings
	f.differ("app role", "infra/approles.json", left, "functions/auth.go", right)
	if len(f) > 0 || len(right) != 2 {
		t.Errorf("%s (%d roles in functions/auth.go)", strings.Join(f, "; "), len(right))
	}
}
