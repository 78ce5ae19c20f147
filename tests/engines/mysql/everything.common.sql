SET NAMES utf8mb4;
SET SESSION sql_mode = '';
SET SESSION foreign_key_checks = 0;

CREATE TABLE users (
  id bigint unsigned NOT NULL AUTO_INCREMENT,
  email varchar(190) NOT NULL,
  name varchar(100) DEFAULT NULL COMMENT 'it''s; a "name" -- (full) /* as told */',
  note text,
  created_at timestamp NULL DEFAULT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY users_email_unique (email),
  KEY users_name_index (name(20)),
  KEY both_of_them (created_at, name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO users VALUES
  (1,'ana@example.com','Ana','quotes '' and "" and \\ and `',NULL),
  (2,'bo@example.com',NULL,'(1,2),(3,4); ); INSERT INTO x VALUES (1);\n-- a comment','2026-11-22 20:00:00'),
  (3,'em@example.com','Émile 😀','tab\tnew\nline\rzero\0sub\Zend','1970-01-02 00:00:01'),
  (4,'null@example.com','NULL','\\N','2026-11-22 20:00:00'),
  (5,'empty@example.com','','','2026-11-22 20:00:00');

CREATE TABLE `zero` (id int NOT NULL AUTO_INCREMENT, d date DEFAULT NULL, t datetime(6) DEFAULT NULL, PRIMARY KEY (id)) ENGINE=InnoDB;
SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO';
INSERT INTO `zero` VALUES (0,'0000-00-00','0000-00-00 00:00:00.000000'),(7,'2026-00-00','2026-11-22 20:00:00.123456');
SET SESSION sql_mode = '';

CREATE TABLE numbers (
  a tinyint DEFAULT NULL, b decimal(30,10) DEFAULT NULL, c float DEFAULT NULL, d double DEFAULT NULL,
  e year DEFAULT NULL, f enum('x','y,z','it''s') DEFAULT NULL, g set('p','q') DEFAULT NULL, h time(3) DEFAULT NULL
) ENGINE=InnoDB;
INSERT INTO numbers VALUES (-128,-12345678901234567890.0123456789,1.5,1e308,2026,'it''s','p,q','-838:59:59.000'),
  (NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL),(127,0,-0.1,-2.2250738585072014e-308,1901,'y,z','','00:00:00.001'),
  (127,0,-0.1,-2.2250738585072014e-308,1901,'y,z','','00:00:00.001');

CREATE TABLE bytes_of (
  id int NOT NULL, b binary(4) DEFAULT NULL, v varbinary(50) DEFAULT NULL, l longblob, bits bit(10) DEFAULT NULL,
  PRIMARY KEY (id), KEY v_first (v(5))
) ENGINE=InnoDB;
INSERT INTO bytes_of VALUES (1,0x00010203,0xFFFE27225C0A,REPEAT(0x00FF275C,100),b'1010101010'),(2,NULL,'','',b'0'),
  (3,'abc','(),;''',NULL,NULL);

CREATE TABLE documents (id int NOT NULL, body json DEFAULT NULL, PRIMARY KEY (id)) ENGINE=InnoDB;
INSERT INTO documents VALUES (1,'{"a": [1, 2, "it''s \\"so\\""], "é": null}'),(2,NULL),(3,'[]');

CREATE TABLE latin (id int NOT NULL, t varchar(50) CHARACTER SET latin1 DEFAULT NULL, PRIMARY KEY (id)) ENGINE=InnoDB DEFAULT CHARSET=latin1;
INSERT INTO latin VALUES (1,'café'),(2,'');

CREATE TABLE `empty table` (id int NOT NULL, PRIMARY KEY (id)) ENGINE=InnoDB;
CREATE TABLE `it's.a "name" ☕` (`col'umn ``1` int NOT NULL, `a.b` int DEFAULT NULL, PRIMARY KEY (`col'umn ``1`), KEY `k'ey ``x` (`a.b`)) ENGINE=InnoDB;
INSERT INTO `it's.a "name" ☕` VALUES (1,10),(2,20);

CREATE TABLE `generated` (
  id int NOT NULL AUTO_INCREMENT, a int DEFAULT NULL, double_a int GENERATED ALWAYS AS (a * 2) STORED,
  text_a varchar(20) GENERATED ALWAYS AS (concat('a)',a,';')) VIRTUAL, PRIMARY KEY (id), KEY by_double (double_a), KEY by_text (text_a)
) ENGINE=InnoDB;
INSERT INTO `generated` (a) VALUES (1),(NULL),(-5);

CREATE TABLE parent (id int NOT NULL, child_id int DEFAULT NULL, PRIMARY KEY (id), KEY child (child_id),
  CONSTRAINT parent_child FOREIGN KEY (child_id) REFERENCES child (id) ON DELETE SET NULL) ENGINE=InnoDB;
CREATE TABLE child (id int NOT NULL, parent_id int DEFAULT NULL, self_id int DEFAULT NULL, PRIMARY KEY (id), KEY parent (parent_id), KEY self (self_id),
  CONSTRAINT child_parent FOREIGN KEY (parent_id) REFERENCES parent (id) ON UPDATE CASCADE,
  CONSTRAINT child_self FOREIGN KEY (self_id) REFERENCES child (id)) ENGINE=InnoDB;
INSERT INTO parent VALUES (1,2),(2,1),(3,NULL);
INSERT INTO child VALUES (1,2,2),(2,1,NULL);

CREATE TABLE parts (id int NOT NULL, at date NOT NULL, PRIMARY KEY (id, at), KEY by_at (at)) ENGINE=InnoDB
  PARTITION BY RANGE (year(at)) (PARTITION p0 VALUES LESS THAN (2025), PARTITION p1 VALUES LESS THAN MAXVALUE);
INSERT INTO parts VALUES (1,'2024-01-01'),(2,'2026-01-01');
CREATE TABLE hashed (id int NOT NULL, PRIMARY KEY (id)) ENGINE=InnoDB PARTITION BY HASH (id) PARTITIONS 3;
INSERT INTO hashed VALUES (1),(2),(3),(4);

CREATE TABLE searched (id int NOT NULL AUTO_INCREMENT, title varchar(100) DEFAULT NULL, body text, PRIMARY KEY (id),
  FULLTEXT KEY by_title (title), FULLTEXT KEY by_both (title, body), KEY plain (title)) ENGINE=InnoDB;
INSERT INTO searched VALUES (1,'restore the data','all of it'),(2,'nothing','else');

CREATE TABLE places (id int NOT NULL, p point NOT NULL, g geometry DEFAULT NULL, PRIMARY KEY (id), SPATIAL KEY by_p (p)) ENGINE=InnoDB;
INSERT INTO places VALUES (1,ST_GeomFromText('POINT(1 2)'),NULL),(2,ST_GeomFromText('POINT(-1 -2)'),ST_GeomFromText('LINESTRING(0 0,1 1)'));

CREATE TABLE checked (id int NOT NULL, n int DEFAULT NULL, PRIMARY KEY (id), CONSTRAINT n_is_small CHECK (n < 100 and n <> 13)) ENGINE=InnoDB;
INSERT INTO checked VALUES (1,12),(2,NULL);
CREATE TABLE packed (id int NOT NULL, t text, PRIMARY KEY (id)) ENGINE=InnoDB ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8;
INSERT INTO packed VALUES (1,REPEAT('packed ',200));
CREATE TABLE no_key (a int DEFAULT NULL, t varchar(20) DEFAULT NULL, KEY a (a)) ENGINE=InnoDB;
INSERT INTO no_key VALUES (3,'c'),(1,'a'),(2,'b'),(1,'a');
CREATE TABLE only_unique (a int NOT NULL, b int DEFAULT NULL, UNIQUE KEY a (a), KEY b (b)) ENGINE=InnoDB;
INSERT INTO only_unique VALUES (3,1),(1,2);
CREATE TABLE counted (n int NOT NULL, id int NOT NULL AUTO_INCREMENT, PRIMARY KEY (n), KEY id (id), KEY other (n, id)) ENGINE=InnoDB;
INSERT INTO counted VALUES (5,50),(6,60);
CREATE TABLE isam (id int NOT NULL, t varchar(10) DEFAULT NULL, PRIMARY KEY (id), KEY t (t)) ENGINE=MyISAM;
INSERT INTO isam VALUES (1,'a'),(2,'b');

CREATE VIEW first_view AS SELECT id, name FROM users WHERE name <> 'x;y';
CREATE VIEW `a view on it` AS SELECT id FROM first_view;
CREATE SQL SECURITY INVOKER VIEW third AS SELECT v.id, (SELECT count(*) FROM child) AS n FROM `a view on it` v;

DELIMITER ;;
CREATE PROCEDURE add_user(IN who varchar(100)) COMMENT 'it''s; a procedure'
BEGIN
  -- a comment; with a delimiter
  DECLARE n int DEFAULT 0; /* and; another */
  INSERT INTO users (email, name) VALUES (concat(who, '@example.com;'), who);
  SELECT count(*) INTO n FROM users;
END ;;
CREATE FUNCTION twice(n int) RETURNS int DETERMINISTIC RETURN n * 2 ;;
CREATE TRIGGER users_before BEFORE INSERT ON users FOR EACH ROW
BEGIN
  SET NEW.note = concat(coalesce(NEW.note, ''), '; seen');
END ;;
CREATE TRIGGER users_after AFTER DELETE ON users FOR EACH ROW DELETE FROM child WHERE id = OLD.id ;;
CREATE TRIGGER users_again BEFORE INSERT ON users FOR EACH ROW FOLLOWS users_before SET NEW.name = trim(NEW.name) ;;
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DISABLE COMMENT 'it''s' DO BEGIN DELETE FROM no_key; END ;;
DELIMITER ;
