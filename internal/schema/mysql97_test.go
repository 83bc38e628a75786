package schema

import "testing"

// TestMySQLRules holds the rules against MySQL 9.7, in a server that the check starts and ends.
func TestMySQLRules(t *testing.T) {
	rulesOf(t, Options{Dialect: MySQL, Dev: "mysql-9.7"}, myOld, []ruled{
		{"CREATE TABLE notes (id int PRIMARY KEY, body text);", ""},
		{"ALTER TABLE orders ADD COLUMN note varchar(10) NOT NULL DEFAULT '';", "note select-star column orders.note; note missing-lock-timeout table orders"},
		{"SET SESSION lock_wait_timeout=2;", ""},
		{"ALTER TABLE orders ADD COLUMN ref varchar(10);", "note select-star column orders.ref"},
		{"ALTER TABLE orders ADD COLUMN early varchar(10) AFTER id;", "column-in-the-middle table orders; note select-star column orders.early"},
		{"ALTER TABLE orders ADD COLUMN must int NOT NULL;", "add-required-column column orders.must"},
		{"CREATE UNIQUE INDEX u0 ON orders (ref);", ""},
		{"CREATE UNIQUE INDEX u1 ON orders (customer);", "add-unique index u1"},
		{"CREATE INDEX i1 ON orders (state);", ""},
		{"CREATE FULLTEXT INDEX ft ON texts (b);", "blocks-writes table texts"},
		{"ALTER TABLE orders ADD CONSTRAINT c1 CHECK (total >= 0);", "add-check check c1; copy-algorithm table orders"},
		{"CREATE TABLE invoices (id int PRIMARY KEY, order_id bigint, CONSTRAINT fi FOREIGN KEY (order_id) REFERENCES orders (id));", "foreign-key-blocks-delete foreign key fi"},
		{"ALTER TABLE orders MODIFY kind enum('a','b','c');", "note add-enum-value column orders.kind"},
		{"ALTER TABLE orders MODIFY kind enum('a','c','b');", "reorder-enum column orders.kind; copy-algorithm table orders"},
		{"ALTER TABLE orders MODIFY kind enum('a');", "drop-enum-value column orders.kind; copy-algorithm table orders"},
		{"CREATE TRIGGER tr BEFORE INSERT ON orders FOR EACH ROW SET NEW.state='x';", "add-trigger trigger tr on orders"},
		{"ALTER TABLE orders MODIFY state varchar(30);", "note widen-type column orders.state"},
		{"ALTER TABLE orders MODIFY state varchar(10);", "narrow-type column orders.state; copy-algorithm table orders"},
		{"ALTER TABLE `lines` MODIFY price bigint;", "drop-default column lines.price; copy-algorithm table lines; note widen-type column lines.price"},
		{"ALTER TABLE `lines` MODIFY price text;", "change-type column lines.price; copy-algorithm table lines"},
		{"ALTER TABLE `lines` MODIFY code varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;", "change-collation column lines.code"},
		{"ALTER TABLE orders MODIFY customer varchar(100) NOT NULL DEFAULT 'x';", "note add-default column orders.customer"},
		{"ALTER TABLE orders ALTER total SET DEFAULT 1;", "change-default column orders.total"},
		{"ALTER TABLE orders MODIFY state varchar(10) NOT NULL;", "set-not-null column orders.state; note online-rebuild table orders"},
		{"ALTER TABLE orders ADD gross decimal(10,2) AS (total*2) STORED;", "copy-algorithm table orders; note add-generated-column column orders.gross"},
		{"UPDATE orders SET state='x';", "backfill-in-one-statement table orders"},
		{"TRUNCATE other;", "truncate-table table other"},
		{"CREATE OR REPLACE VIEW open_orders AS SELECT id FROM orders;", "change-view view open_orders"},
		{"DROP VIEW open_orders;", "drop-view view open_orders"},
		{"ALTER TABLE gone DROP INDEX a;", "drop-unique index a"},
		{"ALTER TABLE gone DROP CONSTRAINT cc;", "note drop-check check cc"},
		{"ALTER TABLE gone DROP PRIMARY KEY;", "change-primary-key table gone; copy-algorithm table gone"},
		{"ALTER TABLE gone ENGINE=MyISAM;", "change-table-option table gone; copy-algorithm table gone"},
		{"ALTER TABLE `lines` DROP FOREIGN KEY lo;", "drop-foreign-key foreign key lo"},
		{"ALTER TABLE `lines` DROP INDEX lines_order;", "drop-index index lines_order"},
		{"ALTER TABLE orders RENAME COLUMN customer TO buyer;", "rename-column column orders.customer"},
		{"ALTER TABLE orders DROP COLUMN state;", "drop-column column orders.state; note online-rebuild table orders"},
		{"RENAME TABLE other TO another;", "rename-table table other"},
		{"DROP TABLE gone;", "drop-table table gone"},
	})
}
