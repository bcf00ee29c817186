package discovery

import "testing"

// TestNameConflictNamesAFewProjects: a host may have a hundred projects with a service of one name.
func TestNameConflictNamesAFewProjects(t *testing.T) {
	many := []string{"a", "b", "c", "d", "e", "f"}
	for _, c := range []struct {
		nameConflict
		want string
	}{
		{nameConflict{name: "db", served: []string{"p"}, owners: []string{"p"}, others: many}, "project a and project b and project c and project d and 2 more answer to db too; only project p is used"},
		{nameConflict{name: "db", owners: many}, "project a and project b and project c and project d and 2 more answer to db; write in the route which one is meant: a/db or b/db or c/db or d/db or …"},
		{nameConflict{name: "db", owners: many[:2]}, "project a and project b answer to db; write in the route which one is meant: a/db or b/db"},
	} {
		if got := c.problem(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
