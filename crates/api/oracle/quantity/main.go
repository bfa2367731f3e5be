// Prints vectors.json: what k8s.io/apimachinery makes of nasty quantities. Run it from this directory:
//
//	go run . > vectors.json
//
// Inputs are the products of small lists, plus hand-picked cases; order and output are the same on every run.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	inf "gopkg.in/inf.v0"
	"k8s.io/apimachinery/pkg/api/resource"
)

type parsed struct {
	Input     string `json:"input"`
	OK        bool   `json:"ok"`
	Canonical string `json:"canonical,omitempty"`
	Nanos     string `json:"nanos,omitempty"`
}

type pair struct {
	Left       string `json:"left"`
	Right      string `json:"right"`
	Cmp        int    `json:"cmp"`
	Sum        string `json:"sum"`
	Difference string `json:"difference"`
}

type vectors struct {
	Generated string   `json:"generated"`
	Parsed    []parsed `json:"parsed"`
	Pairs     []pair   `json:"pairs"`
}

// canonical never uses the text that a quantity may remember from its input.
func canonical(q resource.Quantity) string {
	number, suffix := q.CanonicalizeBytes(nil)
	return string(number) + string(suffix)
}

func nanos(q resource.Quantity) string {
	dec := new(inf.Dec).Round(q.AsDec(), 9, inf.RoundExact)
	if dec == nil {
		panic(fmt.Sprintf("%s is finer than a nano", q.String()))
	}
	return dec.UnscaledBig().String()
}

func parse(input string) parsed {
	q, err := resource.ParseQuantity(input)
	if err != nil {
		return parsed{Input: input}
	}
	return parsed{Input: input, OK: true, Canonical: canonical(q), Nanos: nanos(q)}
}

func inputs() []string {
	numbers := []string{"0", "1", "+1", "-1", "007", "1.5", ".5", "5.", "-0.25", "1024", "1000", "999999999999999999", "9223372036854775807", "9223372036854775808", "0.0000000001", "1.0000000000000000000000001"}
	suffixes := []string{"", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "E-3", "e+6", "e1"}
	var all []string
	for _, number := range numbers {
		for _, suffix := range suffixes {
			all = append(all, number+suffix)
		}
	}
	// Text that is no number, or only just.
	for _, suffix := range suffixes {
		all = append(all, suffix, "+"+suffix, "."+suffix)
	}
	all = append(all,
		"-", "-.", "--1", "+-1", "1-", "1+", "1 ", " 1", "1 Gi", "1,5", "1.5.5", "..5", "1..", "0x10", "1_000", "١", "½", "∞", "NaN", "Inf", "-Inf", "nil", "null", "true",
		"1K", "1ki", "1mi", "1gi", "1KI", "1kI", "1KiB", "1Gb", "1GB", "1B", "1i", "1mm", "1nu", "1Kii", "1MiMi", "1Zi", "1Z", "1Y", "1R", "1µ", "1h", "1d",
		"1e", "1e+", "1e-", "1E+", "1ee3", "1eE3", "1e3e3", "1e3.5", "1e3k", "1e3Ki", "1m3", "1Ki3", "1Ki+3", "1E18", "1E+18", "1e 3", "1e003", "1e-003", "1e18446744073709551616", "1e-18446744073709551616",
		"1e9", "1e10", "1e11", "1e18", "1e19", "1e20", "1e21", "1e27", "1e29", "1e30", "1e40", "-1e30", "1e-9", "1e-10", "1e-40", "-1e-10", "0e99", "0e-99", "00000e1", "0.000e-30", "123456e-9", "123456e-11",
		"100E", "1000E", "999E", "1001E", "1000000E", "1000000000000E", "170141183460469231731687303715.884105727", "170141183460469231731687303715.884105728", "-170141183460469231731687303715.884105727",
		"170141183460469231731687303715884105727n", "170141183460469231731687303715884105728n", "170141183460E", "170141183461E",
		"7Ei", "8Ei", "-8Ei", "9Ei", "7.999999999999999999999999999999Ei", "8191Pi", "8192Pi", "99999999999999999999999999999999999999999999999Ki", "-99999999999999999999999999999999999999999999999Ei",
		"9007199254740991Ki", "9007199254740992Ki", "9007199254740993", "18014398509481984Ki", "0.5Ki", "0.0009765625Ki", "0.0009765624Ki", "0.0009765626Ki", "0.1Ki", "0.1Mi", "0.1Gi", "0.3Ti", "1.1Gi", "1.25Gi", "1.5Gi", "-1.5Gi",
		"1023", "1023Ki", "1024Ki", "1025Ki", "1048576Ki", "1536Mi", "0.99Ki", "1.0001Ki", "-1023Ki", "-1024Ki", "-512Ki", "-0.5Ki", "1000Ki", "1000Mi", "1000000Ki", "1024Mi", "2048Gi", "1e3Mi",
		"0.1m", "0.1n", "0.9n", "-0.1n", "1.1n", "-1.1n", "1.9u", "0.0001m", "999n", "1000n", "1001n", "1000000n", "1000000000n", "1500m", "100m", "1000m", "1100m", "-100m", "0.001", "0.0001", "0.00001k", "12345678.123456789", "12345678.1234567891",
		"10", "100", "10k", "100k", "1010", "10100", "123000", "1230000", "12300000", "1000000", "10000000000", "1e3", "10e3", "100e3", "1000e3", "1E6", "12e4", "12e5", "12e-4", "1.2e4", "1.23456e3", "0.5e1", ".5e-3", "5.e3",
		strings.Repeat("0", 200)+"1", strings.Repeat("9", 200), strings.Repeat("9", 200)+"Ki", "0."+strings.Repeat("0", 200)+"1", "0."+strings.Repeat("0", 200)+"1Ei", "1."+strings.Repeat("0", 200), "1."+strings.Repeat("0", 200)+"Mi", strings.Repeat("9", 29)+"."+strings.Repeat("9", 40), "1"+strings.Repeat("0", 100)+"e-100", "0."+strings.Repeat("0", 99)+"1e100",
	)
	seen := map[string]bool{}
	unique := all[:0]
	for _, input := range all {
		if input != "" && !seen[input] {
			seen[input] = true
			unique = append(unique, input)
		}
	}
	return append([]string{""}, unique...)
}

func pairs() []pair {
	amounts := []string{"0", "1", "-1", "100m", "1n", "-1n", "1Ki", "1k", "1.5Gi", "1536Mi", "1e3", "0Ki", "0e3", "0.5Ki", "9223372036854775807", "-9223372036854775808", "8Ei", "100E", "0.1", "1023"}
	var all []pair
	for _, left := range amounts {
		for _, right := range amounts {
			l, r := resource.MustParse(left), resource.MustParse(right)
			sum, difference := l.DeepCopy(), l.DeepCopy()
			sum.Add(r)
			difference.Sub(r)
			all = append(all, pair{left, right, l.Cmp(r), canonical(sum), canonical(difference)})
		}
	}
	return all
}

func main() {
	out := vectors{Generated: "by `go run . > vectors.json` in tests/oracle/quantity (k8s.io/apimachinery v0.36.3); do not edit"}
	for _, input := range inputs() {
		out.Parsed = append(out.Parsed, parse(input))
	}
	out.Pairs = pairs()
	// One case a line: small enough to read, and a change shows as one line.
	w := os.Stdout
	fmt.Fprintf(w, "{\n\"generated\": %s,\n\"parsed\": [\n", encode(out.Generated))
	for i, p := range out.Parsed {
		fmt.Fprintf(w, "%s%s\n", encode(p), comma(i, len(out.Parsed)))
	}
	fmt.Fprint(w, "],\n\"pairs\": [\n")
	for i, p := range out.Pairs {
		fmt.Fprintf(w, "%s%s\n", encode(p), comma(i, len(out.Pairs)))
	}
	fmt.Fprint(w, "]\n}\n")
}

func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func comma(i, n int) string {
	if i+1 < n {
		return ","
	}
	return ""
}
