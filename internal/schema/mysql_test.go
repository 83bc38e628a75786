package schema

import "testing"

const myOld = "CREATE TABLE orders (\n  id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,\n  customer varchar(100) NOT NULL,\n  total decimal(10,2) NOT NULL DEFAULT 0,\n  state varchar(20),\n  kind enum('a','b')\n) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;\n" +
	`CREATE TABLE ` + "`lines`" + ` (id bigint PRIMARY KEY, order_id bigint, code varchar(20) CHARACTER SET utf8mb4, price int DEFAULT 1, KEY lines_order (order_id), CONSTRAINT lo FOREIGN KEY (order_id) REFERENCES orders (id));
CREATE TABLE gone (id int PRIMARY KEY, a varchar(10) UNIQUE, b text, c int, CONSTRAINT cc CHECK (c > 0));
CREATE TABLE other (id int);
CREATE TABLE texts (id int PRIMARY KEY, b text);
CREATE VIEW open_orders AS SELECT id FROM orders WHERE state='open';
`

// TestMariaDBRules holds the rules against MariaDB 11.8, which says itself in which form it takes a statement.
func TestMariaDBRules(t *testing.T) {
	rulesOf(t, Options{Dialect: MySQL, Dev: mariaServer(t)}, myOld, []ruled{
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
		{"ALTER TABLE orders ADD CONSTRAINT c1 CHECK (total >= 0);", "add-check check c1; note online-rebuild table orders"},
		{"CREATE TABLE invoices (id int PRIMARY KEY, order_id bigint, CONSTRAINT fi FOREIGN KEY (order_id) REFERENCES orders (id));", "foreign-key-blocks-delete foreign key fi"},
		{"CREATE TABLE bills (id int PRIMARY KEY, order_id bigint, CONSTRAINT bo FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE);", "note foreign-key-acts-on-delete foreign key bo"},
		{"CREATE TABLE dues (id int PRIMARY KEY, bill int, CONSTRAINT db FOREIGN KEY (bill) REFERENCES bills (id));", "foreign-key-blocks-delete foreign key db"},
		{"ALTER TABLE orders MODIFY kind enum('a','b','c');", "note add-enum-value column orders.kind"},
		{"ALTER TABLE orders MODIFY kind enum('a','c','b');", "reorder-enum column orders.kind; note online-rebuild table orders"},
		{"ALTER TABLE orders MODIFY kind enum('a');", "drop-enum-value column orders.kind; note online-rebuild table orders"},
		{"CREATE TRIGGER tr BEFORE INSERT ON orders FOR EACH ROW SET NEW.state='x';", "add-trigger trigger tr on orders"},
		{"ALTER TABLE orders MODIFY state varchar(30);", "note widen-type column orders.state"},
		{"ALTER TABLE orders MODIFY state varchar(10);", "narrow-type column orders.state; note online-rebuild table orders"},
		{"ALTER TABLE `lines` MODIFY price bigint;", "drop-default column lines.price; note widen-type column lines.price; note online-rebuild table lines"},
		{"ALTER TABLE `lines` MODIFY price text;", "change-type column lines.price; note online-rebuild table lines"},
		{"ALTER TABLE `lines` MODIFY code varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;", "change-collation column lines.code"},
		{"ALTER TABLE orders MODIFY customer varchar(100) NOT NULL DEFAULT 'x';", "note add-default column orders.customer"},
		{"ALTER TABLE orders ALTER total SET DEFAULT 1;", "change-default column orders.total"},
		{"ALTER TABLE orders MODIFY state varchar(10) NOT NULL;", "set-not-null column orders.state; note online-rebuild table orders"},
		{"ALTER TABLE orders ADD gross decimal(10,2) AS (total*2) STORED;", "note add-generated-column column orders.gross; note online-rebuild table orders"},
		{"UPDATE orders SET state='x';", "backfill-in-one-statement table orders"},
		{"TRUNCATE other;", "truncate-table table other"},
		{"DELETE FROM `other` WHERE id < 5;", "delete-rows table other"},
		{"CREATE OR REPLACE VIEW open_orders AS SELECT id FROM orders;", "change-view view open_orders"},
		{"DROP VIEW open_orders;", "drop-view view open_orders"},
		{"ALTER TABLE gone DROP INDEX a;", "drop-unique index a"},
		{"ALTER TABLE gone DROP CONSTRAINT cc;", "note drop-check check cc"},
		{"ALTER TABLE gone DROP PRIMARY KEY;", "change-primary-key table gone; note online-rebuild table gone"},
		{"ALTER TABLE gone ENGINE=Aria;", "change-table-option table gone; note online-rebuild table gone"},
		{"ALTER TABLE `lines` DROP FOREIGN KEY lo;", "drop-foreign-key foreign key lo"},
		{"ALTER TABLE `lines` DROP INDEX lines_order;", "drop-index index lines_order"},
		{"ALTER TABLE orders RENAME COLUMN customer TO buyer;", "rename-column column orders.customer"},
		{"ALTER TABLE orders DROP COLUMN state;", "drop-column column orders.state"},
		{"RENAME TABLE other TO another;", "rename-table table other"},
		{"DROP TABLE gone;", "drop-table table gone"},
	})
}
