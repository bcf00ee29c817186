package backup

import (
	"fmt"
	"slices"
	"strings"
)

// foreignKey is one of MariaDB's.
type foreignKey struct {
	schema, table             string
	parentSchema, parentTable string
	name                      string
	columns, parentColumns    []string
}

// foreignKeys returns the foreign keys that rows with their columns tell of. The columns of a key follow each other.
func foreignKeys(rows []string) (keys []*foreignKey) {
	for _, row := range rows {
		f := strings.Split(row, "\t")
		if len(f) != 7 {
			continue
		}
		n := len(keys) - 1
		if n < 0 || !slices.Equal(f[:5], []string{keys[n].schema, keys[n].table, keys[n].parentSchema, keys[n].parentTable, keys[n].name}) {
			keys = append(keys, &foreignKey{schema: f[0], table: f[1], parentSchema: f[2], parentTable: f[3], name: f[4]})
			n++
		}
		keys[n].columns, keys[n].parentColumns = append(keys[n].columns, f[5]), append(keys[n].parentColumns, f[6])
	}
	return keys
}

// String says what a row lacks that does not keep the key.
func (k *foreignKey) String() string {
	return fmt.Sprintf("%s.%s.%s refers to no row of %s", k.schema, k.table, strings.Join(k.columns, ", "), k.parentTable)
}

// orphans returns the statement that counts these rows. One with NULL in a column refers to nothing.
func (k *foreignKey) orphans() string {
	var equal, set []string
	for i, column := range k.columns {
		equal = append(equal, fmt.Sprintf("p.%s = c.%s", quoteName(k.parentColumns[i]), quoteName(column)))
		set = append(set, fmt.Sprintf("c.%s IS NOT NULL", quoteName(column)))
	}
	return fmt.Sprintf("SELECT COUNT(*) FROM %s.%s c LEFT JOIN %s.%s p ON %s WHERE %s AND p.%s IS NULL;",
		quoteName(k.schema), quoteName(k.table), quoteName(k.parentSchema), quoteName(k.parentTable),
		strings.Join(equal, " AND "), strings.Join(set, " AND "), quoteName(k.parentColumns[0]))
}

// inconsistencyChecks is the version of the checks: since 2, they are of foreign keys with several columns, and of those of PostgreSQL.
const inconsistencyChecks = 2

// postgresForeignKeys prints, for each foreign key, what a row lacks that does not keep it, and the statement that counts these rows. PostgreSQL checks keys when rows are
// written, and not whether a physical copy has what was written.
const postgresForeignKeys = `SELECT o.conrelid::regclass || '.' || string_agg(quote_ident(c.attname), ', ' ORDER BY k.n) || ' refers to no row of ' || o.confrelid::regclass,
 'SELECT count(*) FROM ' || CASE child.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END || o.conrelid::regclass || ' c LEFT JOIN ' || CASE parent.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END || o.confrelid::regclass || ' p ON ' || string_agg(format('p.%I = c.%I', p.attname, c.attname), ' AND ')
 || ' WHERE ' || string_agg(format('c.%I IS NOT NULL', c.attname), ' AND ') || ' AND ' || min(format('p.%I IS NULL', p.attname)) || ';'
 FROM pg_constraint o CROSS JOIN LATERAL unnest(o.conkey, o.confkey) WITH ORDINALITY k(c, p, n)
 JOIN pg_attribute c ON c.attrelid = o.conrelid AND c.attnum = k.c JOIN pg_attribute p ON p.attrelid = o.confrelid AND p.attnum = k.p
 JOIN pg_class child ON child.oid = o.conrelid JOIN pg_class parent ON parent.oid = o.confrelid
 WHERE o.contype = 'f' AND NOT child.relispartition AND child.relpersistence = 'p' AND parent.relpersistence = 'p' GROUP BY o.oid, o.conrelid, o.confrelid, child.relkind, parent.relkind ORDER BY 1;`
